"""One HTML file to explore every run of results folders: read the records, lay out the data, embed page and script."""
