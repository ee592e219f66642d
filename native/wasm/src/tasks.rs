//! Of an instance that serves several requests at once: which of them a call of its guest belongs to. The guest serves each
//! as a task, and wasmtime tells the task that calls; what has no way to ask it takes the request that began last.

use std::sync::Arc;

use wasmtime::component::{Accessor, GuestTaskId, Linker, Resource};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi_http::p3::bindings::http::client::HostWithStore;
use wasmtime_wasi_http::p3::{Request as GuestRequest, Response};
use wasmtime_wasi_http::{WasiHttp, WasiHttpView};

use crate::host::Host;
use crate::request::Request;

/// The requests that are not over, in the order in which they began.
#[derive(Default)]
pub struct Tasks(Vec<(GuestTaskId, Arc<Request>)>);

impl Host {
    /// The guest serves `request` as this task from now on.
    pub fn begun(&mut self, task: GuestTaskId, request: &Arc<Request>) {
        // Where there is one request alone, all calls are its own.
        if self.shared.is_some() {
            self.tasks.0.push((task, request.clone()));
        }
    }

    /// `request` is over: no call belongs to it any more.
    pub fn ended(&mut self, request: &Arc<Request>) {
        self.tasks.0.retain(|(_, each)| !Arc::ptr_eq(each, request));
        self.current.set(self.tasks.0.last().map(|(_, request)| request.clone()));
    }
}

/// Says whose request is sent next, by the task that calls: nobody's, when what it serves is over.
fn attribute(mut store: StoreContextMut<'_, Host>) -> wasmtime::Result<()> {
    if store.data().shared.is_none() {
        return Ok(());
    }
    let task = store.async_call_stack()?.last();
    let host = store.data_mut();
    let found = host.tasks.0.iter().find(|(each, _)| Some(*each) == task);
    host.outgoing.belongs_to(found.map(|(_, request)| request.clone()));
    Ok(())
}

/// Has `send` of wasi:http/client@0.3 go to the request whose task calls it: an outbound request ends with that one.
pub fn attribute_sends(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut client = linker.instance("wasi:http/client@0.3.0")?;
    client.func_wrap_concurrent("send", |accessor: &Accessor<Host>, (request,): (Resource<GuestRequest>,)| {
        Box::pin(async move {
            accessor.with(|mut access| attribute(access.as_context_mut()))?;
            let accessor = accessor.with_getter::<WasiHttp>(Host::http);
            // Its hook is called before it waits for anything.
            let sent = <WasiHttp as HostWithStore<Host>>::send(&accessor, request).await;
            match sent {
                Ok(response) => Ok((Ok(response),)),
                Err(error) => error.downcast().map(|code| (Err::<Resource<Response>, _>(code),)),
            }
        })
    })?;
    linker.allow_shadowing(false);
    Ok(())
}
