"""The site itself: settings, who may do what, audit, status messages, numbering."""
