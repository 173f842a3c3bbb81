"""The masked autoencoder: layers, encoder, decoder, critic, and where weights come from."""
