//! wasi:keyvalue@0.2.0-draft: store, atomics and batch.

use wasmtime::component::{HasSelf, Linker, Resource};

use crate::calls::op;
use crate::host::Host;
use crate::keyvalue::{Bucket, Failure, Outcome};

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit/deps/keyvalue-0.2.0-draft",
        world: "wasi:keyvalue/imports",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": crate::keyvalue::Bucket },
        trappable_error_type: { "wasi:keyvalue/store.error" => crate::keyvalue::Failure },
    });
}

use bindings::wasi::keyvalue::{atomics, batch, store};

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

    async fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<u64>) -> Outcome<store::KeyResponse> {
        let position = cursor.map(u64::to_le_bytes);
        let position = position.as_ref().map(|bytes| bytes.as_slice());
        let (keys, next) = self.list_page(op::LIST_BY_POSITION, &bucket, position).await?;
        let cursor = next.and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        Ok(store::KeyResponse { keys, cursor })
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for Host {
    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> Outcome<u64> {
        self.increase(op::INCREMENT_U64, &bucket, &key, delta.to_le_bytes()).await.map(u64::from_le_bytes)
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
