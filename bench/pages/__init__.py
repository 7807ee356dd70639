"""The pages of the web view at the size of a large site: what each costs the API server, PostgreSQL and the browser."""
