"""What is fetched from elsewhere, once: files behind a URL, and repositories of the Hugging Face hub."""
