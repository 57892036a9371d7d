"""Problems that install with steepest, or whose data it fetches: a file each."""
