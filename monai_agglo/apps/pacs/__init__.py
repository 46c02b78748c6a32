"""A PACS as the other side: fetch cines from it, give results back, ask what it has."""
