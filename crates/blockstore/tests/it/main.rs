//! The store through its public face, over memory and over a directory.

mod basics;
mod support;
