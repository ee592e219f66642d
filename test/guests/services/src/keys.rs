//! Operations on stored keys, told as text.

use crate::bindings::wasi::keyvalue0_2_0_draft as draft;
use crate::bindings::wasi::keyvalue0_2_0_draft2 as draft2;
use draft2::atomics::{self, Cas, CasError};
use draft2::batch;
use draft2::store::{self, Bucket, Error};

pub fn operate(what: &str, bucket: &str, key: &str, argument: &str, content: &[u8]) -> String {
    let said = match what {
        "open" => open_many(bucket, key.parse().unwrap_or_default()),
        "huge-key" => store::open(bucket).and_then(|bucket| bucket.get(&"k".repeat(key.parse().unwrap()))).map(text),
        "draft" => return draft_version(bucket, key, argument),
        _ => store::open(bucket).and_then(|bucket| on_bucket(what, &bucket, key, argument, content)),
    };
    said.unwrap_or_else(failure)
}

fn on_bucket(what: &str, bucket: &Bucket, key: &str, argument: &str, content: &[u8]) -> Result<String, Error> {
    let keys = || key.split(',').map(String::from).collect::<Vec<_>>();
    Ok(match what {
        "get" => text(bucket.get(key)?),
        "set" => done(bucket.set(key, content)?),
        "delete" => done(bucket.delete(key)?),
        "exists" => bucket.exists(key)?.to_string(),
        "keys" => all_keys(bucket)?,
        "increment" => atomics::increment(bucket, key, argument.parse().unwrap())?.to_string(),
        "swap" => swap(bucket, key, argument == "raced", content)?,
        "get-many" => {
            let found = batch::get_many(bucket, &keys())?;
            let told = found.into_iter().map(|pair| {
                pair.map_or("none".into(), |(key, value)| format!("{key}={}", String::from_utf8_lossy(&value)))
            });
            told.collect::<Vec<_>>().join(" ")
        }
        "set-many" => {
            let pairs: Vec<_> = keys().into_iter().map(|key| (key, content.to_vec())).collect();
            done(batch::set_many(bucket, &pairs)?)
        }
        "delete-many" => done(batch::delete_many(bucket, &keys())?),
        _ => "no such operation".into(),
    })
}

fn done((): ()) -> String {
    "done".into()
}

fn text(value: Option<Vec<u8>>) -> String {
    value.map_or("none".into(), |value| String::from_utf8_lossy(&value).into_owned())
}

fn failure(error: Error) -> String {
    match error {
        Error::NoSuchStore => "no such store".into(),
        Error::AccessDenied => "access denied".into(),
        Error::Other(why) => format!("other: {why}"),
    }
}

/// `PAGES pages: KEYS`.
fn all_keys(bucket: &Bucket) -> Result<String, Error> {
    let mut keys = Vec::new();
    let mut cursor: Option<String> = None;
    for pages in 1.. {
        let page = bucket.list_keys(cursor.as_deref())?;
        keys.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok(format!("{pages} pages: {}", keys.join(" ")));
        }
    }
    unreachable!()
}

/// Swaps what the key has for `content`; when it is raced, somebody else writes in between the first time.
fn swap(bucket: &Bucket, key: &str, raced: bool, content: &[u8]) -> Result<String, Error> {
    let cas = Cas::new(bucket, key)?;
    let before = text(cas.current()?);
    if raced {
        bucket.set(key, b"somebody else's")?;
    }
    match atomics::swap(cas, content) {
        Ok(()) => Ok(format!("swapped {before}")),
        Err(CasError::StoreError(error)) => Err(error),
        Err(CasError::CasFailed(again)) => {
            let now = text(again.current()?);
            match atomics::swap(again, content) {
                Ok(()) => Ok(format!("swapped {now} at the second try")),
                Err(_) => Ok("not swapped".into()),
            }
        }
    }
}

/// Holds so many handles at once.
fn open_many(bucket: &str, count: usize) -> Result<String, Error> {
    let mut held = Vec::new();
    while held.len() < count {
        match store::open(bucket) {
            Ok(bucket) => held.push(bucket),
            Err(error) => return Ok(format!("{} opened, then {}", held.len(), failure(error))),
        }
    }
    Ok(format!("{} opened", held.len()))
}

/// What the first draft has otherwise: unsigned counters, and a position for a cursor.
fn draft_version(what: &str, bucket: &str, key: &str) -> String {
    let told = draft::store::open(bucket).and_then(|bucket| match what {
        "increment" => draft::atomics::increment(&bucket, key, 5).map(|sum| sum.to_string()),
        _ => {
            let mut keys = Vec::new();
            let mut cursor = key.parse().ok();
            loop {
                let page = bucket.list_keys(cursor)?;
                keys.extend(page.keys);
                cursor = page.cursor;
                if cursor.is_none() {
                    return Ok(format!("{} keys", keys.len()));
                }
            }
        }
    });
    told.unwrap_or_else(|error| match error {
        draft::store::Error::NoSuchStore => "no such store".into(),
        draft::store::Error::AccessDenied => "access denied".into(),
        draft::store::Error::Other(why) => format!("other: {why}"),
    })
}
