//! A handler at work, by the interpreter wasmi.

use super::{DROP, FAIL, KEEP, Limits};
use crate::limits::{HANDLER_TABLE_ELEMENTS_MAX, HANDLER_TABLES_MAX, RECORDS_BYTES_MAX};
use crate::records::parts::Parts;
use crate::wire::cursor::Unread;
use crate::wire::rebuild::{Change, Changed, Record};
use std::fmt;
use wasmi::{
    CompilationMode, Config, Engine, Linker, Memory, Module, Store, StoreLimits, StoreLimitsBuilder,
    TrapCode, TypedFunc, WasmParams, WasmResults,
};

/// Room is asked for at least so much, so that it seldom has to be asked for again.
const ROOM_BYTES_MIN: usize = 16 << 10;

/// One core's handler.
pub struct Instance {
    module: Module,
    limits: Limits,
    running: Running,
    /// After a failure its memory may hold anything: then it begins anew.
    is_sound: bool,
}

impl Instance {
    pub(super) fn new(bytes: &[u8], limits: Limits) -> Result<Self, String> {
        let mut config = Config::default();
        config.consume_fuel(true).compilation_mode(CompilationMode::Eager);
        let module = Module::new(&Engine::new(&config), bytes)
            .map_err(|error| format!("it is no WebAssembly module that can be run here: {error}"))?;
        if let Some(import) = module.imports().next() {
            let (from, name) = (import.module(), import.name());
            return Err(format!(
                "the module imports {name:?} from {from:?}; build it without: a handler may know nothing but the record"
            ));
        }
        let running = Running::start(&module, limits)?;
        Ok(Self { module, limits, running, is_sound: true })
    }
}

impl Change for Instance {
    fn change(&mut self, record: &Record<'_>, body: &mut Vec<u8>) -> Result<Changed, String> {
        if !self.is_sound {
            self.running = Running::start(&self.module, self.limits)?;
        }
        self.is_sound = false;
        let changed = self.running.change(record, body)?;
        self.is_sound = true;
        changed.ok_or_else(|| "the module answered that it cannot handle the record".into())
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// A module with its memory.
struct Running {
    store: Store<StoreLimits>,
    limits: Limits,
    memory: Memory,
    buffer: TypedFunc<i32, i32>,
    record: TypedFunc<(i32, i32, i64), i64>,
    /// Where records are put, and how many bytes have room there.
    at: i32,
    room: usize,
}

impl Running {
    fn start(module: &Module, limits: Limits) -> Result<Self, String> {
        let bounds = StoreLimitsBuilder::new()
            .memories(1)
            .memory_size(limits.memory_bytes)
            .tables(HANDLER_TABLES_MAX)
            .table_elements(HANDLER_TABLE_ELEMENTS_MAX)
            .trap_on_grow_failure(true)
            .build();
        let mut store = Store::new(module.engine(), bounds);
        store.limiter(|bounds| bounds);
        refuel(&mut store, limits)?;
        let instance = Linker::new(module.engine()).instantiate_and_start(&mut store, module);
        let instance = instance.map_err(|error| failure(&error, limits))?;
        let lacks = |export: &str| format!("the module does not export {export}; see README.md, 'Handlers'");
        let memory = instance.get_memory(&store, "memory").ok_or_else(|| lacks("its memory as `memory`"))?;
        let buffer = instance.get_typed_func(&store, "twinlog_buffer");
        let buffer = buffer.map_err(|_| lacks("twinlog_buffer(i32) -> i32"))?;
        let record = instance.get_typed_func(&store, "twinlog_record");
        let record = record.map_err(|_| lacks("twinlog_record(i32, i32, i64) -> i64"))?;
        let initialize = instance.get_typed_func::<(), ()>(&store, "_initialize");
        let mut running = Self { store, limits, memory, buffer, record, at: 0, room: 0 };
        if let Ok(initialize) = initialize {
            running.call(initialize, ())?;
        }
        Ok(running)
    }

    /// None: it cannot handle the record, and says so.
    fn change(&mut self, record: &Record<'_>, body: &mut Vec<u8>) -> Result<Option<Changed>, String> {
        let bytes = self.put(record.body)?;
        match self.call(self.record, (self.at, bytes, record.timestamp_ms))? {
            KEEP => Ok(Some(Changed::Same)),
            DROP => Ok(Some(Changed::Dropped)),
            FAIL => Ok(None),
            place => {
                body.extend_from_slice(self.new_body(place)?);
                Ok(Some(Changed::New { timestamp_ms: record.timestamp_ms }))
            }
        }
    }

    /// Puts a record where the module takes it, and gives its length.
    fn put(&mut self, body: &[u8]) -> Result<i32, String> {
        let too_long = |_| "the record is longer than WebAssembly can address".to_owned();
        if body.len() > self.room {
            let room = body.len().max(ROOM_BYTES_MIN);
            self.at = self.call(self.buffer, i32::try_from(room).map_err(too_long)?)?;
            self.room = room;
        }
        // An address is unsigned.
        let written = self.memory.write(&mut self.store, self.at as u32 as usize, body);
        written.map_err(|_| "the module has its buffer outside of its memory".to_owned())?;
        i32::try_from(body.len()).map_err(too_long)
    }

    fn new_body(&self, place: i64) -> Result<&[u8], String> {
        let (at, bytes) = ((place as u64 >> 32) as usize, place as u32 as usize);
        if at == 0 {
            return Err(format!(
                "the module answered {place}, which is neither {KEEP} (keep), {DROP} (drop), {FAIL} (cannot) nor an address"
            ));
        }
        if bytes > RECORDS_BYTES_MAX {
            return Err(format!("the module's new body is longer than {RECORDS_BYTES_MAX} bytes"));
        }
        let memory = self.memory.data(&self.store);
        let new = memory.get(at..).and_then(|rest| rest.get(..bytes));
        let new = new.ok_or("the module's new body lies outside of its memory")?;
        Parts::read(new).map_err(|unread| {
            let what = match unread {
                Unread::Bad(what) => what,
                Unread::Short(_) => "it is cut short",
            };
            format!("the module's new body is none: {what}")
        })?;
        Ok(new)
    }

    fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        function: TypedFunc<P, R>,
        params: P,
    ) -> Result<R, String> {
        refuel(&mut self.store, self.limits)?;
        function.call(&mut self.store, params).map_err(|error| failure(&error, self.limits))
    }
}

fn refuel(store: &mut Store<StoreLimits>, limits: Limits) -> Result<(), String> {
    store.set_fuel(limits.fuel_per_record).map_err(|error| error.to_string())
}

/// Why a module stopped. Says nothing of its memory, and so nothing of a record.
fn failure(error: &wasmi::Error, limits: Limits) -> String {
    let Limits { memory_bytes, fuel_per_record } = limits;
    match error.as_trap_code() {
        Some(TrapCode::OutOfFuel) => format!(
            "the module gave no answer within {fuel_per_record} units of fuel; raise fuel-per-record, unless it has an endless loop"
        ),
        Some(TrapCode::GrowthOperationLimited) => {
            format!("the module wants more than its {memory_bytes} bytes of memory; raise memory-bytes-max")
        }
        Some(trap) => format!("the module trapped: {trap}"),
        None => format!("the module cannot be started with {memory_bytes} bytes of memory: {error}"),
    }
}
