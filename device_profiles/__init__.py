"""What devices are: facts as TOML files, read by `device_profiles.profile`; stdlib only."""
