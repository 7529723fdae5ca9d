"""HTTP filters, one file each; `proxy.http.hcm_builder` holds the one list of them."""
