//! The judge as its users see it.

mod traffic;

mod golden;
mod recordings;
mod verdicts;
