"""Inside the frameworks of others, which import us; nothing here is imported by the rest of the package."""
