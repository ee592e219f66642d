//! How wasmtime is set up: what guests may use, and the pools that their instances come from.

use std::sync::Arc;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::compiled::CompiledFunctions;
use crate::pools::Class;

/// An engine and how many instances may live in it at once.
pub struct Opened {
    pub engine: Engine,
    pub places: usize,
    /// What the machine did not allow, for the node's log.
    pub warning: Option<String>,
}

/// Sizes of the pool without a bound by memory, largest first. A place reserves 4 GiB of addresses for each memory (so
/// that no memory access needs a bounds check) and costs nothing until it is used; 1,000 of them fit into the 128 TiB
/// of x86-64 and of most arm64 kernels, 32 into the 512 GiB of an arm64 kernel with 39-bit addresses. A limit on the
/// address space of the process (`ulimit -v`) can forbid all of them.
const PLACES: [u32; 4] = [1000, 250, 32, 8];
/// Instances at once without a pool.
const PLACES_WITHOUT_POOL: usize = 64;

/// What every place of a class may keep in memory while nobody uses it, in bytes. A Rust guest writes about 1 MiB, a
/// JavaScript guest 3 to 30.
pub fn kept(class: Class) -> usize {
    match class {
        Class::Small => 2 << 20,
        Class::Large => 32 << 20,
        Class::Cold => 0,
    }
}

/// The most places of a class, so that all that they keep together is at most a sixteenth (small) or an eighth (large)
/// of the machine's memory.
fn most_places(class: Class, memory: u64) -> u32 {
    match class {
        Class::Small => (memory / 16 / kept(class) as u64).clamp(16, 1000) as u32,
        Class::Large => (memory / 8 / kept(class) as u64).clamp(4, 100) as u32,
        Class::Cold => PLACES[0],
    }
}

/// Opens the engine of a class with as many places as the machine allows; fails when it allows no pool at all.
pub fn open(class: Class, compiled: &Arc<CompiledFunctions>) -> wasmtime::Result<Opened> {
    let most = most_places(class, physical_memory());
    let fewer = PLACES.into_iter().filter(|&places| places < most);
    let mut refused = String::new();
    for places in [most].into_iter().chain(fewer) {
        match engine(class, Some(places), compiled) {
            Ok(engine) => {
                let warning = (places != most).then(|| {
                    format!("the pool of Wasm instances ({class:?}) has {places} places instead of {most}: {refused}")
                });
                return Ok(Opened { engine, places: places as usize, warning });
            }
            Err(error) => refused = format!("{error:#}"),
        }
    }
    Err(wasmtime::Error::msg(refused))
}

/// Opens the engine of a class without a pool.
pub fn open_without_pool(class: Class, compiled: &Arc<CompiledFunctions>) -> wasmtime::Result<Opened> {
    Ok(Opened { engine: engine(class, None, compiled)?, places: PLACES_WITHOUT_POOL, warning: None })
}

fn engine(class: Class, places: Option<u32>, compiled: &Arc<CompiledFunctions>) -> wasmtime::Result<Engine> {
    let mut config = config(class, places);
    config.enable_incremental_compilation(compiled.clone())?;
    Engine::new(&config)
}

fn config(class: Class, places: Option<u32>) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .wasm_component_model_async(true)
        // Names are enough for a log; files and lines would need the debug sections in memory.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    match places {
        Some(places) => {
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(class, places)));
        }
        // Addresses are short here: a memory takes what it uses and some room to grow, and its accesses are checked.
        None => {
            config.memory_reservation(0).memory_guard_size(64 << 10).memory_reservation_for_growth(4 << 20);
        }
    }
    config
}

fn pool(class: Class, places: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    // A component has one memory as a rule, and a handful of core instances and tables: its adapters have some too.
    // A component with more than that takes more than one place's share, and is refused when the pool has run out.
    pool.total_component_instances(places)
        .total_memories(places.saturating_mul(2))
        .total_tables(places.saturating_mul(4))
        .total_core_instances(places.saturating_mul(12))
        .total_stacks(places)
        .total_gc_heaps(places)
        // Elements of a table: Python and JavaScript engines have more than the default of 20,000.
        .table_elements(100_000)
        .max_core_instance_size(4 << 20)
        .max_component_instance_size(4 << 20);
    // Taking a slot down by clearing just the pages that the guest wrote, and leaving them in place, saves the next
    // guest its page faults: it halves the cost of a request. The kernel can name these pages since 6.7; before that
    // wasmtime would clear the whole of what is kept, so less is kept.
    let scan = PoolingAllocationConfig::is_pagemap_scan_available();
    let kept = kept(class);
    let (memory, table, stack) = match (kept, scan) {
        (0, _) => (0, 0, 0),
        (_, true) => (kept, 1 << 20, 256 << 10),
        (_, false) => (512 << 10, 64 << 10, 256 << 10),
    };
    pool.pagemap_scan(if scan { Enabled::Yes } else { Enabled::No })
        .linear_memory_keep_resident(memory)
        .table_keep_resident(table)
        .async_stack_keep_resident(stack)
        // The number of places bounds what is kept; a place that served a component stays with it while it can.
        .max_unused_warm_slots(places);
    pool
}

/// Bytes that instances kept for reuse may have together: an eighth of the machine's memory.
pub fn kept_for_reuse() -> usize {
    (physical_memory() / 8) as usize
}

fn physical_memory() -> u64 {
    // SAFETY: sysconf only reads.
    let (pages, size) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    u64::try_from(pages).unwrap_or(0) * u64::try_from(size).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_memory_is_a_share_of_the_machine() {
        for (memory, small, large) in [(1 << 30, 32, 4), (4 << 30, 128, 16), (24 << 30, 768, 96), (1 << 38, 1000, 100)]
        {
            assert_eq!(most_places(Class::Small, memory), small);
            assert_eq!(most_places(Class::Large, memory), large);
        }
    }

    #[test]
    fn every_pool_size_is_a_valid_configuration() {
        for class in [Class::Small, Class::Large, Class::Cold] {
            for places in PLACES {
                Engine::new(&config(class, Some(places))).unwrap();
            }
            Engine::new(&config(class, None)).unwrap();
        }
    }

    #[test]
    fn code_of_one_class_is_code_of_every_class() {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let hash = |class| {
            let mut hasher = DefaultHasher::new();
            Engine::new(&config(class, Some(8))).unwrap().precompile_compatibility_hash().hash(&mut hasher);
            hasher.finish()
        };
        assert_eq!(hash(Class::Small), hash(Class::Large));
        assert_eq!(hash(Class::Small), hash(Class::Cold));
    }
}
