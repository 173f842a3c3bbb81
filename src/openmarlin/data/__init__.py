"""What goes in and what comes out: lists of videos, tables of features."""
