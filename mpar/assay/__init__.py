"""Numbers and figures of an assay: stimuli, windows, responses, groups."""
