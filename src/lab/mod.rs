//! Throwaway networks in namespaces, with worms of our own making that carry no exploit.
