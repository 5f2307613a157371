// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What we tell QEMU while it runs, over its QMP socket (docs/interop/qmp-spec.rst).

use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Far longer than QEMU takes for anything that we ask for.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(2);

#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    #[error("QEMU's monitor does not answer")]
    Silent(#[from] io::Error),
    #[error("QEMU's monitor says what is no QMP")]
    Strange(#[from] serde_json::Error),
    #[error("QEMU refuses '{command}': {why}")]
    Refused { command: String, why: String },
}

/// A QEMU that listens.
pub struct Monitor {
    socket: BufReader<UnixStream>,
    /// It takes commands, which it does once it was greeted.
    greeted: bool,
}

impl Monitor {
    /// The one at this socket; it may still be coming up.
    pub fn new(socket: UnixStream) -> Monitor {
        Monitor { socket: BufReader::new(socket), greeted: false }
    }

    /// Stops all CPUs and devices. No CPU may run a guest of its own then:
    ///
    /// - VMRUN leaves the vector that it has injected in `exception_index` (`helper_vmrun()`), and a
    ///   CPU that is told to stop before its next exception takes that interrupt once more, though
    ///   interrupts may be off. The second guest then waits for ever for a lock that it has, in
    ///   every run from the state.
    /// - QEMU (11.1, and all that has nested SVM) writes the state of such a CPU, but does not take
    ///   it up: `cpu_post_load()` of target/i386/machine.c wants KVM's nested state beside it, also
    ///   under TCG.
    ///
    /// So the session in the first guest has the second one's CPUs stand still from the moment
    /// at which it is ready until it gets its orders.
    pub fn stop(&mut self) -> Result<(), MonitorError> {
        self.execute("stop", &json!({})).map(drop)
    }

    /// Lets the machine go on.
    pub fn go_on(&mut self) -> Result<(), MonitorError> {
        self.execute("cont", &json!({})).map(drop)
    }

    /// Writes the state of the machine, which stands still, to a file.
    pub fn save(&mut self, path: &Path) -> Result<(), MonitorError> {
        let file = json!({ "transport": "file", "filename": path, "offset": 0 });
        let channel = json!({ "channel-type": "main", "addr": file });
        self.execute("migrate", &json!({ "channels": [channel] }))?;
        self.await_migration("migrate")
    }

    /// Goes on from such a file. The machine that waits for it runs then.
    pub fn take_up(&mut self, path: &str) -> Result<(), MonitorError> {
        let file = json!({ "transport": "file", "filename": path, "offset": 0 });
        let channel = json!({ "channel-type": "main", "addr": file });
        self.execute("migrate-incoming", &json!({ "channels": [channel] }))?;
        self.await_migration("migrate-incoming")
    }

    /// Plugs in a device that is served at a socket with this path.
    pub fn plug(&mut self, socket: &str, bus: &str) -> Result<(), MonitorError> {
        let socket = json!({ "type": "unix", "path": socket });
        let device = json!({
            "driver": "vfio-user-pci", "id": "accelerator", "bus": bus, "socket": socket,
            "x-msg-timeout": PATIENCE.as_millis() as u64,
        });
        self.execute("device_add", &device).map(drop)
    }

    fn await_migration(&mut self, command: &str) -> Result<(), MonitorError> {
        loop {
            let state = self.execute("query-migrate", &json!({}))?;
            match state["status"].as_str().unwrap_or_default() {
                "completed" => return Ok(()),
                "failed" | "cancelled" => {
                    let why = state["error-desc"].as_str().unwrap_or("no reason is given");
                    return Err(MonitorError::Refused {
                        command: command.to_owned(),
                        why: why.into(),
                    });
                }
                _ => thread::sleep(PAUSE),
            }
        }
    }

    fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, MonitorError> {
        self.greet()?;
        let line = json!({ "execute": command, "arguments": arguments });
        self.socket.get_ref().write_all(format!("{line}\n").as_bytes())?;
        self.answer(command)
    }

    fn greet(&mut self) -> Result<(), MonitorError> {
        if !std::mem::replace(&mut self.greeted, true) {
            self.socket.get_ref().set_read_timeout(Some(PATIENCE))?;
            self.execute("qmp_capabilities", &json!({}))?;
        }
        Ok(())
    }

    fn answer(&mut self, command: &str) -> Result<Value, MonitorError> {
        loop {
            let mut line = String::new();
            if self.socket.read_line(&mut line)? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let mut answer: Value = serde_json::from_str(&line)?;
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            // Anything else is its greeting, or news.
            if let Some(error) = answer.get("error") {
                let why = error["desc"].as_str().unwrap_or_default().to_owned();
                return Err(MonitorError::Refused { command: command.to_owned(), why });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A QEMU that gives these answers, whatever it is asked.
    fn monitor(answers: &str) -> Monitor {
        let (ours, mut its) = UnixStream::pair().expect("sockets");
        its.write_all(answers.as_bytes()).expect("written");
        its.shutdown(std::net::Shutdown::Write).expect("ended");
        // What it is asked waits in its socket.
        std::mem::forget(its);
        Monitor::new(ours)
    }

    const GREETING: &str = "{\"QMP\":{\"version\":{}}}\n{\"return\":{}}\n";

    #[test]
    fn answers_are_found_among_news() {
        let news = "{\"event\":\"RESET\"}\n{\"event\":\"STOP\"}\n{\"return\":{}}\n\
                    {\"return\":{}}\n\
                    {\"return\":{\"status\":\"active\"}}\n{\"event\":\"MIGRATION\"}\n\
                    {\"return\":{\"status\":\"completed\"}}\n\
                    {\"return\":{}}\n{\"return\":{\"status\":\"completed\"}}\n\
                    {\"return\":{}}\n";
        let (ours, mut its) = UnixStream::pair().expect("sockets");
        its.write_all(format!("{GREETING}{news}").as_bytes()).expect("written");
        its.shutdown(std::net::Shutdown::Write).expect("ended");
        let mut monitor = Monitor::new(ours);
        monitor.stop().expect("stopped");
        monitor.save(Path::new("/nowhere")).expect("saved");
        monitor.take_up("/nowhere").expect("taken up");
        monitor.plug("/dev/fd/3", "behind").expect("plugged in");
        assert!(matches!(monitor.go_on(), Err(MonitorError::Silent(_))));
        drop(monitor);
        let asked = BufReader::new(its).lines().map_while(Result::ok).map(|line| {
            let asked: Value = serde_json::from_str(&line).expect("JSON");
            asked["execute"].as_str().unwrap_or_default().to_owned()
        });
        let all = [
            "qmp_capabilities",
            "stop",
            "migrate",
            "query-migrate",
            "query-migrate",
            "migrate-incoming",
            "query-migrate",
            "device_add",
            "cont",
        ];
        assert_eq!(asked.collect::<Vec<_>>(), all);
    }

    #[test]
    fn refusals_have_a_reason() {
        let refusal = "{\"error\":{\"class\":\"GenericError\",\"desc\":\"not now\"}}\n";
        let mut first = monitor(&format!("{GREETING}{refusal}"));
        let error = first.stop().expect_err("refused");
        assert_eq!(error.to_string(), "QEMU refuses 'stop': not now");
        let failed =
            "{\"return\":{}}\n{\"return\":{\"status\":\"failed\",\"error-desc\":\"full\"}}\n";
        let mut second = monitor(&format!("{GREETING}{failed}"));
        let error = second.save(Path::new("/nowhere")).expect_err("failed");
        assert_eq!(error.to_string(), "QEMU refuses 'migrate': full");
        assert!(matches!(monitor("hello\n").stop(), Err(MonitorError::Strange(_))));
    }
}
