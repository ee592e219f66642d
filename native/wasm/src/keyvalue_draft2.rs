//! wasi:keyvalue@0.2.0-draft2: store, atomics with compare-and-swap, and batch.

use wasmtime::component::{HasSelf, Linker, Resource};

use crate::calls::op;
use crate::host::Host;
use crate::keyvalue::{Bucket, Cas, Failure, Outcome};

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/deps/keyvalue-0.2.0-draft2",
        world: "wasi:keyvalue/imports",
        imports: { default: async | trappable },
        with: {
            "wasi:keyvalue/store.bucket": crate::keyvalue::Bucket,
            "wasi:keyvalue/atomics.cas": crate::keyvalue::Cas,
        },
        trappable_error_type: {
            "wasi:keyvalue/store.error" => crate::keyvalue::Failure,
            "wasi:keyvalue/atomics.cas-error" => super::SwapFailure,
        },
    });
}

use bindings::wasi::keyvalue::{atomics, batch, store};

pub enum SwapFailure {
    Storage(Failure),
    /// The key has another version by now; here is a handle to try again with.
    Stale(Resource<Cas>),
}

pub fn add_to_linker(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    bindings::Imports::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)
}

impl store::Host for Host {
    async fn open(&mut self, identifier: String) -> Outcome<Resource<Bucket>> {
        self.open_bucket(identifier).await
    }

    fn convert_error(&mut self, failure: Failure) -> wasmtime::Result<store::Error> {
        match failure {
            Failure::NoSuchStore => Ok(store::Error::NoSuchStore),
            Failure::Other(why) => Ok(store::Error::Other(why)),
            Failure::Trap(error) => Err(error),
        }
    }
}

impl store::HostBucket for Host {
    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Outcome<Option<Vec<u8>>> {
        Ok(self.on_bucket(op::GET, &bucket, &[key.as_bytes()]).await?.next().flatten())
    }

    async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Outcome<()> {
        self.on_bucket(op::SET, &bucket, &[key.as_bytes(), &value]).await.map(drop)
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Outcome<()> {
        self.on_bucket(op::DELETE, &bucket, &[key.as_bytes()]).await.map(drop)
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Outcome<bool> {
        Ok(self.on_bucket(op::EXISTS, &bucket, &[key.as_bytes()]).await?.next().flatten().is_some())
    }

    async fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<String>) -> Outcome<store::KeyResponse> {
        let after = cursor.as_ref().map(String::as_bytes);
        let (keys, next) = self.list_page(op::LIST_BY_KEY, &bucket, after).await?;
        let cursor = next.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(store::KeyResponse { keys, cursor })
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for Host {
    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: i64) -> Outcome<i64> {
        self.increase(op::INCREMENT_S64, &bucket, &key, delta.to_le_bytes()).await.map(i64::from_le_bytes)
    }

    async fn swap(&mut self, cas: Resource<Cas>, value: Vec<u8>) -> Result<(), SwapFailure> {
        match self.try_swap(cas, value).await.map_err(SwapFailure::Storage)? {
            None => Ok(()),
            Some(again) => Err(SwapFailure::Stale(again)),
        }
    }

    fn convert_cas_error(&mut self, failure: SwapFailure) -> wasmtime::Result<atomics::CasError> {
        match failure {
            SwapFailure::Storage(failure) => {
                store::Host::convert_error(self, failure).map(atomics::CasError::StoreError)
            }
            SwapFailure::Stale(again) => Ok(atomics::CasError::CasFailed(again)),
        }
    }
}

impl atomics::HostCas for Host {
    async fn new(&mut self, bucket: Resource<Bucket>, key: String) -> Outcome<Resource<Cas>> {
        self.begin_swap(&bucket, key).await
    }

    async fn current(&mut self, cas: Resource<Cas>) -> Outcome<Option<Vec<u8>>> {
        self.current_value(&cas).await
    }

    async fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}

impl batch::Host for Host {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Outcome<Vec<Option<(String, Vec<u8>)>>> {
        self.get_values(&bucket, keys).await
    }

    async fn set_many(&mut self, bucket: Resource<Bucket>, key_values: Vec<(String, Vec<u8>)>) -> Outcome<()> {
        self.set_values(&bucket, key_values).await
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Outcome<()> {
        self.delete_keys(&bucket, keys).await
    }
}
