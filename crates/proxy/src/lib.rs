//! The splitter: weighted, sticky and mirrored HTTP with measurements per arm.
