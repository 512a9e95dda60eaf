//! The store through its public face, over memory and over a directory.

#[cfg(test)]
mod basics;
#[cfg(test)]
mod collection;
#[cfg(test)]
mod collection_torture;
#[cfg(test)]
mod concurrency;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod dedup;
#[cfg(test)]
mod effects;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod repack;
#[cfg(test)]
mod support;
#[cfg(test)]
mod verify;
