"""From files to samples: decoding, formats, data sets and made scenes."""
