//! What the agent does for its whole life: one thread that waits for the host, its processes and their streams.
use crate::cgroup::Cgroup;
use crate::failure::{Failure, Result};
use crate::identity::{self, Random};
use crate::message::{self, Configuration, Ending, File, Identity, Process, Request, State, VERSION, asked, told};
use crate::port::Port;
use crate::root::Root;
use crate::running::{Running, STDIN_WINDOW};
use crate::stats::Proc;
use crate::wire::{Frame, FrameParser};
use crate::{network, spawn, sys};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Processes of the workload that were started by the host, at once.
const MOST_RUNNING: usize = 64;
/// How often is looked whether a host has come, beside being told by the kernel.
const LOOK_FOR_HOST: Duration = Duration::from_millis(100);
/// The last words to the host take their way.
const LAST_WORDS: Duration = Duration::from_millis(200);

pub struct Server {
    port: Port,
    parser: FrameParser,
    signals: OwnedFd,
    cgroup: Cgroup,
    random: Random,
    proc: Proc,
    state: State,
    /// A host has said hello since it came.
    greeted: bool,
    suspended: bool,
    identity: Option<Identity>,
    root: Option<Root>,
    running: Vec<Running>,
    /// How the workload's own process ended, for a host that comes later.
    main_ending: Option<(Ending, bool)>,
    power_off_at: Option<Instant>,
}

/// What a descriptor that is waited for belongs to.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Port,
    Stdin(usize),
    Output(usize, usize),
}

impl Server {
    pub fn new(port: Port, signals: OwnedFd, cgroup: Cgroup, random: Random, proc: Proc) -> Self {
        Self {
            port,
            parser: FrameParser::default(),
            signals,
            cgroup,
            random,
            proc,
            state: State::Waiting,
            greeted: false,
            suspended: false,
            identity: None,
            root: None,
            running: Vec::new(),
            main_ending: None,
            power_off_at: None,
        }
    }

    /// Until the machine ends.
    pub fn serve(&mut self) {
        loop {
            let ready = self.wait();
            let now = Instant::now();
            for (source, flags) in ready {
                self.handle(source, flags, now);
            }
            self.reap(now);
            for at in 0..self.running.len() {
                if self.running[at].deadline().is_some_and(|deadline| now >= deadline) {
                    (0..2).for_each(|stream| self.running[at].read_output(stream, &mut self.port, now));
                }
                self.running[at].send_kept(&mut self.port);
            }
            self.report_ended();
            self.port.flush();
            if self.power_off_at.is_some_and(|at| now >= at || self.running.is_empty()) {
                return self.power_off();
            }
        }
    }

    fn timeout(&self) -> Option<Timespec> {
        let now = Instant::now();
        let mut until = self.running.iter().filter_map(Running::deadline).chain(self.power_off_at).min();
        // Those whose time is over and which no credit lets go on wait for the host, not for time.
        if until.is_some_and(|at| at <= now) {
            until = Some(now + Duration::from_millis(10));
        }
        if !self.port.connected {
            until = Some(until.map_or(now + LOOK_FOR_HOST, |at| at.min(now + LOOK_FOR_HOST)));
        }
        let left = until?.saturating_duration_since(now);
        Some(Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos() as _ })
    }

    fn wait(&mut self) -> Vec<(Source, PollFlags)> {
        if !self.port.connected {
            self.look_for_host();
        }
        let timeout = self.timeout();
        let mut sources = vec![Source::Signals];
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        if self.port.connected {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, !self.port.is_full());
            flags.set(PollFlags::OUT, self.port.has_waiting());
            sources.push(Source::Port);
            fds.push(PollFd::new(&self.port, flags));
        }
        for (at, running) in self.running.iter().enumerate() {
            if let Some(stdin) = running.stdin_to_poll() {
                sources.push(Source::Stdin(at));
                fds.push(PollFd::new(stdin, PollFlags::OUT));
            }
            for stream in 0..2 {
                if let Some(pipe) = running.output_to_poll(stream, &self.port) {
                    sources.push(Source::Output(at, stream));
                    fds.push(PollFd::new(pipe, PollFlags::IN));
                }
            }
        }
        let _ = poll(&mut fds, timeout.as_ref());
        let ready = fds.iter().zip(sources).filter(|(fd, _)| !fd.revents().is_empty());
        ready.map(|(fd, source)| (source, fd.revents())).collect()
    }

    fn look_for_host(&mut self) {
        let mut fds = [PollFd::new(&self.port, PollFlags::IN)];
        let looked = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        self.port.connected = looked.is_ok() && !fds[0].revents().contains(PollFlags::HUP);
    }

    fn handle(&mut self, source: Source, flags: PollFlags, now: Instant) {
        match source {
            Source::Signals => {
                let mut told = [0; 1024];
                let _ = rustix::io::read(&self.signals, &mut told);
            }
            Source::Port if flags.contains(PollFlags::IN) => self.read_port(),
            Source::Port if flags.contains(PollFlags::HUP) => self.host_left(),
            Source::Port => {}
            Source::Stdin(at) => self.running[at].write_stdin(&mut self.port),
            Source::Output(at, stream) => self.running[at].read_output(stream, &mut self.port, now),
        }
    }

    fn read_port(&mut self) {
        let mut buffer = [0; 32 * 1024];
        let bytes = self.port.read(&mut buffer);
        if bytes.is_empty() {
            return self.host_left();
        }
        let mut frames = Vec::new();
        self.parser.push(bytes, |frame| frames.push(frame));
        for frame in frames {
            self.take(frame);
        }
    }

    fn host_left(&mut self) {
        self.port.connected = false;
        self.parser.reset();
        self.forget_host();
    }

    /// Nothing of what a host asked stays but the workload's own process.
    fn forget_host(&mut self) {
        self.greeted = false;
        self.port.forget();
        for running in self.running.iter_mut().filter(|running| !running.is_main) {
            kill(running.pid, libc::SIGKILL, true);
        }
        // Their ends are nobody's to be told any more.
        self.running.retain(|running| running.is_main);
        self.running.iter_mut().for_each(Running::detach);
    }

    fn take(&mut self, frame: Frame) {
        let channel = frame.channel;
        let Ok(request) = Request::decode(frame.kind, &frame.payload) else {
            return self.answer(channel, Err(Failure::new("MALFORMED", format!("a message of kind {}", frame.kind))));
        };
        if !self.greeted && frame.kind != asked::HELLO {
            return self.answer(channel, Err(Failure::new("NO_HELLO", "nobody has said hello")));
        }
        match request {
            Request::Hello { version, nonce } => self.hello(channel, version, &nonce),
            Request::Restored { entropy, identity } => {
                let done = self.restored(&entropy, identity);
                self.answer(channel, done);
            }
            Request::Configure(configuration) => {
                let done = self.configure(&configuration);
                self.answer(channel, done);
            }
            Request::Start { process, window } => self.start(channel, true, &process, window),
            Request::Exec { process, window } => self.start(channel, false, &process, window),
            Request::Attach { window } => self.attach(channel, window),
            Request::Suspend => {
                let done = self.suspend();
                self.answer(channel, done);
            }
            Request::Stats => self.port.send(told::STATS, channel, &message::stats_payload(&self.stats())),
            Request::PowerOff { grace_ms } => self.begin_power_off(channel, grace_ms),
            request => self.pass_on(channel, request),
        }
    }

    /// To the process of the channel. None: it has ended meanwhile, which the host is told or will be.
    fn pass_on(&mut self, channel: u16, request: Request) {
        let Some(at) = self.running.iter().position(|running| running.channel == channel) else { return };
        let running = &mut self.running[at];
        match request {
            Request::Stdin(bytes) => {
                let taken = running.take_stdin(&bytes, &mut self.port);
                if !taken {
                    kill(running.pid, libc::SIGKILL, true);
                    self.answer(channel, Err(Failure::new("TOO_MUCH_INPUT", "more input than there was credit for")));
                }
            }
            Request::StdinEnd => running.end_stdin(&mut self.port),
            Request::Credit { stream, bytes } => running.add_credit(stream, bytes),
            Request::Signal { number, group } if running.ending.is_none() => kill(running.pid, number, group),
            _ => {}
        }
    }

    fn answer(&mut self, channel: u16, done: Result<()>) {
        match done {
            Ok(()) => self.port.send(told::DONE, channel, &[]),
            Err(Failure { code, why }) => {
                self.port.send(told::FAILED, channel, &message::failed_payload(code, &why));
            }
        }
    }

    fn hello(&mut self, channel: u16, version: u16, nonce: &[u8; message::NONCE_BYTES]) {
        self.forget_host();
        // It tells its own version, whether they understand each other or not.
        self.greeted = version == VERSION;
        self.port.send(told::HELLO, channel, &message::hello_payload(nonce, self.state));
    }

    fn restored(&mut self, entropy: &[u8], identity: Identity) -> Result<()> {
        // Before anything else runs.
        self.random.reseed(entropy)?;
        identity::assume(&identity)?;
        if let Some(root) = &self.root {
            root.write(&identity_files(&identity))?;
        }
        self.identity = Some(identity);
        if self.suspended {
            self.cgroup.thaw()?;
            self.suspended = false;
        }
        Ok(())
    }

    fn configure(&mut self, configuration: &Configuration) -> Result<()> {
        if self.state != State::Waiting || self.root.is_some() {
            return Err(Failure::new("OUT_OF_ORDER", "the machine is configured already"));
        }
        let Some(identity) = &self.identity else {
            return Err(Failure::new("OUT_OF_ORDER", "the machine has no identity yet"));
        };
        self.cgroup.limit(configuration.pids)?;
        network::set_up(configuration.network.as_ref())?;
        let root = self.root.insert(Root::set_up(configuration)?);
        root.write(&identity_files(identity))?;
        self.state = State::Configured;
        Ok(())
    }

    fn start(&mut self, channel: u16, is_main: bool, process: &Process, window: u32) {
        match self.try_start(channel, is_main, process, window) {
            Ok(pid) => self.started(channel, pid),
            Err(failure) => self.answer(channel, Err(failure)),
        }
    }

    fn started(&mut self, channel: u16, pid: i32) {
        let mut payload = (pid as u32).to_le_bytes().to_vec();
        payload.extend_from_slice(&(STDIN_WINDOW as u32).to_le_bytes());
        self.port.send(told::STARTED, channel, &payload);
    }

    fn try_start(&mut self, channel: u16, is_main: bool, process: &Process, window: u32) -> Result<i32> {
        let wanted = if is_main { State::Configured } else { State::Running };
        if self.state != wanted || self.suspended || self.power_off_at.is_some() {
            return Err(Failure::new("OUT_OF_ORDER", format!("the machine is {:?}", self.state)));
        }
        if self.running.len() >= MOST_RUNNING || self.running.iter().any(|running| running.channel == channel) {
            return Err(Failure::new("TOO_MANY_PROCESSES", format!("{} run already", self.running.len())));
        }
        let spawned = spawn::spawn(process, self.cgroup.join())?;
        let pid = spawned.pid;
        if is_main {
            self.state = State::Running;
        }
        self.running.push(Running::new(channel, is_main, spawned, window));
        Ok(pid)
    }

    fn attach(&mut self, channel: u16, window: u32) {
        if let Some(main) = self.running.iter_mut().find(|running| running.is_main) {
            main.attach(channel, window);
            let pid = main.pid;
            return self.started(channel, pid);
        }
        match self.main_ending {
            Some((ending, oom)) => self.port.send(told::EXITED, channel, &message::exited_payload(ending, oom)),
            None => self.answer(channel, Err(Failure::new("OUT_OF_ORDER", "no process was started"))),
        }
    }

    fn suspend(&mut self) -> Result<()> {
        self.cgroup.freeze()?;
        self.suspended = true;
        Ok(())
    }

    fn stats(&self) -> message::Stats {
        let (memory_bytes, available_bytes) = self.proc.memory();
        message::Stats {
            memory_bytes,
            available_bytes,
            cpu_ms: self.proc.cpu_ms(),
            load: self.proc.load(),
            processes: self.cgroup.processes(),
            written_bytes: self.root.as_ref().map_or(0, Root::written_bytes),
            out_of_memory_kills: self.cgroup.out_of_memory_kills(),
        }
    }

    /// Also those that were left by parents that have ended: the first process has them all.
    fn reap(&mut self, now: Instant) {
        while let Some((pid, status)) = sys::reap() {
            let Some(running) = self.running.iter_mut().find(|running| running.pid == pid) else { continue };
            let ending = if libc::WIFSIGNALED(status) {
                Ending::Signal(libc::WTERMSIG(status) as u8)
            } else {
                Ending::Status(libc::WEXITSTATUS(status) as u8)
            };
            let killed = ending == Ending::Signal(libc::SIGKILL as u8);
            let out_of_memory = killed && self.cgroup.out_of_memory_kills() > 0;
            running.ended(ending, out_of_memory, now);
            if running.is_main {
                self.state = State::Ended;
                self.main_ending = Some((ending, out_of_memory));
                // What it started ends with it, as in a container.
                self.cgroup.kill();
            }
        }
    }

    fn report_ended(&mut self) {
        let port = &mut self.port;
        self.running.retain(|running| {
            let Some((ending, oom)) = running.is_over() else { return true };
            port.send(told::EXITED, running.channel, &message::exited_payload(ending, oom));
            false
        });
    }

    fn begin_power_off(&mut self, channel: u16, grace_ms: u32) {
        if self.suspended {
            let _ = self.cgroup.thaw();
            self.suspended = false;
        }
        for running in self.running.iter().filter(|running| running.ending.is_none()) {
            kill(running.pid, libc::SIGTERM, !running.is_main);
        }
        self.power_off_at = Some(Instant::now() + Duration::from_millis(u64::from(grace_ms)));
        self.answer(channel, Ok(()));
    }

    fn power_off(&mut self) {
        self.cgroup.kill();
        self.cgroup.wait_until_empty();
        if let Some(root) = &self.root {
            root.leave_volumes();
        }
        let until = Instant::now() + LAST_WORDS;
        while self.port.connected && self.port.has_waiting() && Instant::now() < until {
            self.port.flush();
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn identity_files(identity: &Identity) -> [File; 2] {
    let file = |path: &str, line: &[u8]| File { path: path.into(), mode: 0o644, contents: [line, b"\n"].concat() };
    [file("/etc/hostname", &identity.hostname), file("/etc/machine-id", &identity.machine_id)]
}

fn kill(pid: i32, number: i32, group: bool) {
    sys::kill(if group { -pid } else { pid }, number);
}
