"""The editor in the browser, `dps app`: state and words apart from the page, nothing but 127.0.0.1."""
