"""Object storage as sure as a disk: places, retries, folders replaced whole, a mirror and a lease. Knows no stages."""
