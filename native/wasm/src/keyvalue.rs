//! Stored keys and values for guests: what the two versions of wasi:keyvalue (keyvalue_draft.rs, keyvalue_draft2.rs)
//! have in common. The storage itself is Node's (runtime/keyvalue); each operation is a call (calls.rs).

use wasmtime::component::{Resource, ResourceTableError};

use crate::calls::{Calls, op};
use crate::host::Host;
use crate::operands::{Operands, Results};

/// An open bucket of the function's namespace.
pub struct Bucket {
    name: String,
}

/// A compare-and-swap: the key, and its version when it was looked at last.
pub struct Cas {
    bucket: String,
    key: String,
    version: [u8; 8],
}

pub enum Failure {
    NoSuchStore,
    Other(String),
    /// The guest is ended with it.
    Trap(wasmtime::Error),
}

impl From<ResourceTableError> for Failure {
    fn from(error: ResourceTableError) -> Self {
        match error {
            ResourceTableError::Full => Failure::Other("too many handles are open".into()),
            other => Failure::Trap(other.into()),
        }
    }
}

pub type Outcome<T> = Result<T, Failure>;

/// Outcome codes of an answer, shared with runtime/drivers/wasm/wasmtime/keyvalue.ts.
const DONE: u32 = 0;
const NO_SUCH_STORE: u32 = 1;

impl Host {
    pub async fn open_bucket(&mut self, name: String) -> Outcome<Resource<Bucket>> {
        self.operate(op::OPEN, Operands::default().with(name.as_bytes())).await?;
        Ok(self.table.push(Bucket { name })?)
    }

    /// An operation on a bucket whose operands are the bucket's name and then `operands`.
    pub async fn on_bucket(&mut self, op: u32, bucket: &Resource<Bucket>, operands: &[&[u8]]) -> Outcome<Results> {
        let mut packed = Operands::default().with(self.table.get(bucket)?.name.as_bytes());
        for each in operands {
            packed = packed.with(each);
        }
        self.operate(op, packed).await
    }

    /// One page of keys, and where the next one begins. `cursor` is what `op` takes for one.
    pub async fn list_page(
        &mut self,
        op: u32,
        bucket: &Resource<Bucket>,
        cursor: Option<&[u8]>,
    ) -> Outcome<(Vec<String>, Option<Vec<u8>>)> {
        let packed = Operands::default().with(self.table.get(bucket)?.name.as_bytes()).with_option(cursor);
        let mut results = self.operate(op, packed).await?;
        let next = results.next().flatten();
        let keys = results.flatten().map(|key| String::from_utf8_lossy(&key).into_owned()).collect();
        Ok((keys, next))
    }

    pub async fn get_values(
        &mut self,
        bucket: &Resource<Bucket>,
        keys: Vec<String>,
    ) -> Outcome<Vec<Option<(String, Vec<u8>)>>> {
        let operands: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
        let values = self.on_bucket(op::GET_MANY, bucket, &operands).await?;
        Ok(keys.into_iter().zip(values).map(|(key, value)| value.map(|value| (key, value))).collect())
    }

    pub async fn set_values(&mut self, bucket: &Resource<Bucket>, pairs: Vec<(String, Vec<u8>)>) -> Outcome<()> {
        let operands: Vec<&[u8]> = pairs.iter().flat_map(|(key, value)| [key.as_bytes(), value]).collect();
        self.on_bucket(op::SET_MANY, bucket, &operands).await.map(drop)
    }

    pub async fn delete_keys(&mut self, bucket: &Resource<Bucket>, keys: Vec<String>) -> Outcome<()> {
        let operands: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
        self.on_bucket(op::DELETE_MANY, bucket, &operands).await.map(drop)
    }

    pub async fn increase(
        &mut self,
        op: u32,
        bucket: &Resource<Bucket>,
        key: &str,
        delta: [u8; 8],
    ) -> Outcome<[u8; 8]> {
        let sum = self.on_bucket(op, bucket, &[key.as_bytes(), &delta]).await?.next();
        eight_bytes(sum.flatten())
    }

    /// A compare-and-swap that starts from what the key has now.
    pub async fn begin_swap(&mut self, bucket: &Resource<Bucket>, key: String) -> Outcome<Resource<Cas>> {
        let bucket = self.table.get(bucket)?.name.clone();
        let mut cas = Cas { bucket, key, version: [0; 8] };
        self.look(&mut cas).await?;
        Ok(self.table.push(cas)?)
    }

    /// The value that the key has now: the swap starts from that, and the handle need not keep a value.
    pub async fn current_value(&mut self, handle: &Resource<Cas>) -> Outcome<Option<Vec<u8>>> {
        let Cas { bucket, key, version } = self.table.get(handle)?;
        let mut cas = Cas { bucket: bucket.clone(), key: key.clone(), version: *version };
        let value = self.look(&mut cas).await?;
        self.table.get_mut(handle)?.version = cas.version;
        Ok(value)
    }

    /// Puts the value, or gives back a handle to try again with: then the key has another version by now.
    pub async fn try_swap(&mut self, handle: Resource<Cas>, value: Vec<u8>) -> Outcome<Option<Resource<Cas>>> {
        let mut cas = self.table.delete(handle)?;
        let operands = Operands::default().with(cas.bucket.as_bytes()).with(cas.key.as_bytes());
        let mut done = self.operate(op::SWAP, operands.with(&cas.version).with(&value)).await?;
        if done.next().flatten().is_some() {
            return Ok(None);
        }
        self.look(&mut cas).await?;
        Ok(Some(self.table.push(cas)?))
    }

    async fn look(&mut self, cas: &mut Cas) -> Outcome<Option<Vec<u8>>> {
        let operands = Operands::default().with(cas.bucket.as_bytes()).with(cas.key.as_bytes());
        let mut results = self.operate(op::READ, operands).await?;
        cas.version = eight_bytes(results.next().flatten())?;
        Ok(results.next().flatten())
    }

    async fn operate(&mut self, op: u32, operands: Operands) -> Outcome<Results> {
        let over = || Failure::Other("the request is over".into());
        let request = self.current.get().ok_or_else(over)?;
        let (_call, answer) = Calls::ask(&request, op, operands.into_bytes()).ok_or_else(over)?;
        drop(request);
        let (outcome, bytes) = answer.await.map_err(|_| over())?;
        match outcome {
            DONE => Ok(Results(bytes)),
            NO_SUCH_STORE => Err(Failure::NoSuchStore),
            _ => Err(Failure::Other(String::from_utf8_lossy(&bytes).into_owned())),
        }
    }
}

fn eight_bytes(bytes: Option<Vec<u8>>) -> Outcome<[u8; 8]> {
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| Failure::Other("the node answered something else than a number".into()))
}
