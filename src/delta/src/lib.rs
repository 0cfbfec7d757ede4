//! Binary deltas between two states of a slot: made per file on the workstation, applied per chunk on the node.
