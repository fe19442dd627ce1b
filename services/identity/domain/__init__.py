"""What may be asked and what follows from it, apart from who is who (`graph`) and who is likely whom (`matching`). Pure."""
