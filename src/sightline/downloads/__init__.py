"""Files over HTTP: resumed, tried again and checked."""
