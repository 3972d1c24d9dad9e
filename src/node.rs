//! Builds the rooms, joins them, shuts them down.
