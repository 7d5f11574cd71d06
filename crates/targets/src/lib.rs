//! Drivers that make the desired state true, and the agent of the process target.
