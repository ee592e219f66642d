//! Shuts the process into the folder it fills, before it reads the first byte of the layer.
use crate::failure::{Failure, Result};
use rustix::process::{Resource, Rlimit, chroot, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

/// What files of any owner and mode, whiteouts and file capabilities need; all of it within the user namespace only.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETFCAP);

/// In bytes: the largest window of zstd (128 MiB), the names of half a million folders, and stacks.
const ADDRESS_SPACE: u64 = 768 << 20;

/// Makes the working directory the root of the process and gives up everything else.
pub fn confine() -> Result<()> {
    let call = |name: &'static str| move |error| Failure::of_call(name, error);
    chroot(".").map_err(call("chroot"))?;
    clear_ambient_capability_set().map_err(call("prctl(PR_CAP_AMBIENT)"))?;
    for capability in CapabilitySet::all().difference(KEPT).iter().filter(|each| each.bits().count_ones() == 1) {
        match remove_capability_from_bounding_set(capability) {
            // A capability that this kernel does not have yet.
            Err(rustix::io::Errno::INVAL) | Ok(()) => {}
            Err(error) => return Err(Failure::of_call("prctl(PR_CAPBSET_DROP)", error)),
        }
    }
    let held = capabilities(None).map_err(call("capget"))?;
    let kept = held.permitted.intersection(KEPT);
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(call("capset"))?;
    set_no_new_privs(true).map_err(call("prctl(PR_SET_NO_NEW_PRIVS)"))?;
    for (resource, limit) in [(Resource::Core, 0), (Resource::Nofile, 64), (Resource::As, ADDRESS_SPACE)] {
        let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
        setrlimit(resource, limit).map_err(call("setrlimit"))?;
    }
    Ok(())
}
