//! fruit-update: takes a node from one release to the next. A release goes into the slot that is not running, boots on
//! trial, and is committed or given up; whatever happens on the way, the node boots the old release or the new one.
