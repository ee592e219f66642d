//! How wasmtime is set up: what guests may use, and the pool that their instances come from.

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

/// An engine and how many instances may live at once.
pub struct Opened {
    pub engine: Engine,
    pub places: usize,
    /// What the machine did not allow, for the node's log.
    pub warning: Option<String>,
}

/// Pool sizes to try, largest first. A place reserves 4 GiB of addresses for each memory (so that no memory access
/// needs a bounds check) and costs nothing until it is used; 1,000 of them fit into the 128 TiB of x86-64 and of most
/// arm64 kernels, 32 into the 512 GiB of an arm64 kernel with 39-bit addresses. A limit on the address space of the
/// process (`ulimit -v`) can forbid all of them.
const PLACES: [u32; 4] = [1000, 250, 32, 8];
/// Instances at once without a pool.
const PLACES_WITHOUT_POOL: usize = 64;

pub fn open() -> wasmtime::Result<Opened> {
    let mut refused = String::new();
    for places in PLACES {
        match Engine::new(&config(Some(places))) {
            Ok(engine) => {
                let warning = (places != PLACES[0]).then(|| {
                    format!("the pool of Wasm instances has {places} places instead of {}: {refused}", PLACES[0])
                });
                return Ok(Opened { engine, places: places as usize, warning });
            }
            Err(error) => refused = format!("{:#}", error),
        }
    }
    let engine = Engine::new(&config(None))?;
    let warning = Some(format!("Wasm instances are made without a pool, which is slower: {refused}"));
    Ok(Opened { engine, places: PLACES_WITHOUT_POOL, warning })
}

fn config(places: Option<u32>) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .wasm_component_model_async(true)
        // Names are enough for a log; files and lines would need the debug sections in memory.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    match places {
        Some(places) => {
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(places)));
        }
        // Addresses are short here: a memory takes what it uses and some room to grow, and its accesses are checked.
        None => {
            config.memory_reservation(0).memory_guard_size(64 << 10).memory_reservation_for_growth(4 << 20);
        }
    }
    config
}

fn pool(places: u32) -> PoolingAllocationConfig {
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
    pool.pagemap_scan(if scan { Enabled::Yes } else { Enabled::No })
        .linear_memory_keep_resident(if scan { KEPT_PER_MEMORY } else { 512 << 10 })
        .table_keep_resident(if scan { 1 << 20 } else { 64 << 10 })
        .async_stack_keep_resident(256 << 10)
        .max_unused_warm_slots(warm_slots(physical_memory()));
    pool
}

/// Above what a JavaScript guest writes; a Rust guest writes about 1 MiB, and no more than that is kept for it.
const KEPT_PER_MEMORY: usize = 32 << 20;

/// Slots that may keep their memory while nobody uses them: together at most an eighth of the machine's memory.
fn warm_slots(memory: u64) -> u32 {
    (memory / 8 / KEPT_PER_MEMORY as u64).clamp(4, 100) as u32
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
        assert_eq!(warm_slots(1 << 30), 4);
        assert_eq!(warm_slots(4 << 30), 16);
        assert_eq!(warm_slots(256 << 30), 100);
    }

    #[test]
    fn every_pool_size_is_a_valid_configuration() {
        for places in PLACES {
            Engine::new(&config(Some(places))).unwrap();
        }
        Engine::new(&config(None)).unwrap();
    }
}
