"""Where bytes lie: stores, the lease of a driver, tables larger than memory."""
