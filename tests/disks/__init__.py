"""The release binary on real small disks, and on damaged stores."""
