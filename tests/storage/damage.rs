//! Damaged files: an error that names the file and the place, or what the log can make again. Never a panic, never
//! other records than those that were appended.
