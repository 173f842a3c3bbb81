"""The page of `openmarlin serve`: what the verbs do, in a browser.

The page (gradio) runs in one process; what reads videos runs in others (`work`), so that it can be
cancelled, and a file that kills its reader takes nobody's page away.
"""
