"""What a request will do and cost, before it is carried out."""
