"""What every room uses: errors, settings and where they come from, storage, numbers as text."""
