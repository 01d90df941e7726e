//! Attaching the packet programs to interfaces, now and as interfaces come and go.
//!
//! Links of tcx belong to this process: the kernel removes them when it ends, however it ends. Kernels before 6.6 have
//! only `clsact`, whose filters stay behind after a `kill -9`; they are found by the programs' names and removed at the
//! next start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aya::programs::ProgramError;
use aya::programs::tc::{
    NlOptions, SchedClassifierLinkId, TcAttachOptions, TcAttachType, qdisc_add_clsact, qdisc_detach_program,
};
use aya::util::KernelVersion;
use futures::channel::mpsc::UnboundedReceiver;
use futures::stream::FusedStream;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::SocketAddr;
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};

use crate::interface::{Interface, InterfaceError, Interfaces, LinkLayer, Selection};
use crate::probes::{Probes, ProbesError};

/// How long to wait if the interfaces can't be read.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Why programs can't be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Netlink can't be used.
    #[error("cannot ask the kernel for its interfaces: {0}")]
    Netlink(String),
    /// The choice of interfaces can't be met.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// A program is missing.
    #[error(transparent)]
    Probes(#[from] ProbesError),
    /// The kernel refuses.
    #[error("cannot attach to interface {interface}: {reason}")]
    Refused {
        /// The interface.
        interface: String,
        /// What the kernel says.
        reason: String,
    },
}

/// How programs are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// tcx links, from Linux 6.6 on.
    Tcx,
    /// Filters of a `clsact` queueing discipline.
    Clsact,
}

impl Hook {
    /// What the running kernel offers.
    #[must_use]
    pub fn of_kernel() -> Self {
        match KernelVersion::current() {
            Ok(version) if version < KernelVersion::new(6, 6, 0) => Self::Clsact,
            _ => Self::Tcx,
        }
    }
}

/// Keeps the programs attached to the chosen interfaces.
pub struct Attacher {
    probes: Arc<Mutex<Probes>>,
    selection: Selection,
    hook: Hook,
    interfaces: Arc<Interfaces>,
    table: BTreeMap<u32, Interface>,
    attached: BTreeMap<u32, Attached>,
    handle: Handle,
    messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    refused: BTreeSet<u32>,
}

/// What is known about the messages before one.
#[derive(PartialEq, Eq)]
enum Messages {
    Whole,
    Lost,
}

struct Attached {
    name: String,
    links: Vec<(&'static str, SchedClassifierLinkId)>,
}

impl Attacher {
    /// Attaches to the chosen interfaces that exist now. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// If netlink can't be used, or an interface that is named doesn't exist.
    pub async fn start(
        probes: Arc<Mutex<Probes>>,
        selection: Selection,
        hook: Hook,
        interfaces: Arc<Interfaces>,
    ) -> Result<Self, AttachError> {
        let (connection, handle, messages) = new_multicast_connection(&[MulticastGroup::Link])
            .map_err(|error| AttachError::Netlink(error.to_string()))?;
        tokio::spawn(connection);
        let mut attacher = Self {
            probes,
            selection,
            hook,
            interfaces,
            table: BTreeMap::new(),
            attached: BTreeMap::new(),
            handle,
            messages,
            refused: BTreeSet::new(),
        };
        attacher.table = existing(&attacher.handle).await?;
        attacher.selection.check(&attacher.table)?;
        if hook == Hook::Clsact {
            attacher.remove_leftovers();
        }
        for interface in attacher.table.values().cloned().collect::<Vec<_>>() {
            attacher.consider(&interface);
        }
        attacher.publish();
        Ok(attacher)
    }

    /// Follows interfaces as they come, go and change their names, until netlink ends.
    pub async fn run(mut self) {
        while let Some((message, _)) = self.messages.next().await {
            if self.follow(message.payload) == Messages::Lost {
                tracing::warn!("interfaces change faster than netlink tells of them; reading them all again");
                self.catch_up().await;
            }
        }
    }

    fn follow(&mut self, message: NetlinkPayload<RouteNetlinkMessage>) -> Messages {
        match message {
            // What a bridge tells of its ports comes in messages of the same kinds for another address family. They say
            // nothing of what an interface is (net/bridge/br_netlink.c, br_fill_ifinfo), and its removal is one from the bridge.
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link))
                if link.header.interface_family == AddressFamily::Unspec =>
            {
                if let Some(interface) = Interface::of(&link) {
                    self.update(interface);
                }
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link))
                if link.header.interface_family == AddressFamily::Unspec =>
            {
                self.forget(link.header.index);
            }
            // The socket was full (ENOBUFS).
            NetlinkPayload::Overrun(_) => return Messages::Lost,
            NetlinkPayload::Error(error) => tracing::warn!("netlink reports: {error}"),
            _ => {}
        }
        Messages::Whole
    }

    /// Reads all interfaces again, until no message came in between: one that did may be older than what was read.
    async fn catch_up(&mut self) {
        loop {
            let table = existing(&self.handle).await;
            let mut is_overtaken = false;
            while let Ok((message, _)) = self.messages.try_recv() {
                is_overtaken = true;
                self.follow(message.payload);
            }
            match table {
                Ok(_) if is_overtaken => {}
                Ok(table) => {
                    let gone: Vec<u32> = self
                        .table
                        .keys()
                        .filter(|index| !table.contains_key(index))
                        .copied()
                        .collect();
                    gone.into_iter().for_each(|index| self.forget(index));
                    table.into_values().for_each(|interface| self.update(interface));
                    return;
                }
                Err(error) if self.messages.is_terminated() => return tracing::error!("{error}"),
                Err(error) => {
                    tracing::warn!("{error}; trying again");
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
            }
        }
    }

    fn update(&mut self, interface: Interface) {
        if self.table.get(&interface.index) != Some(&interface) {
            self.table.insert(interface.index, interface.clone());
            self.consider(&interface);
            self.publish();
        }
    }

    fn forget(&mut self, index: u32) {
        self.table.remove(&index);
        self.refused.remove(&index);
        self.detach(index);
        self.publish();
    }

    fn publish(&self) {
        self.interfaces.publish(self.table.clone());
        self.interfaces
            .set_watched(self.attached.values().map(|attached| attached.name.clone()).collect());
    }

    /// Attaches to an interface or detaches from it, as the choice says.
    fn consider(&mut self, interface: &Interface) {
        let is_attached = self
            .attached
            .get(&interface.index)
            .map(|attached| attached.name == interface.name);
        let wanted = self.selection.includes(&interface.name);
        match (wanted, is_attached) {
            (false, Some(_)) => self.detach(interface.index),
            (true, Some(false)) => {
                if let Some(attached) = self.attached.get_mut(&interface.index) {
                    attached.name.clone_from(&interface.name);
                }
            }
            (true, None) => match self.attach(interface) {
                Ok(attached) => {
                    tracing::info!(interface = interface.name, role = ?interface.role, "attached");
                    self.attached.insert(interface.index, attached);
                }
                Err(error) if self.refused.insert(interface.index) => tracing::warn!("{error}"),
                Err(_) => {}
            },
            (true, Some(true)) | (false, None) => {}
        }
    }

    fn attach(&self, interface: &Interface) -> Result<Attached, AttachError> {
        let refused = |reason: String| AttachError::Refused {
            interface: interface.name.clone(),
            reason,
        };
        let programs = match interface.link_layer {
            LinkLayer::Ethernet => ["ingress_ethernet", "egress_ethernet"],
            LinkLayer::Ip => ["ingress_ip", "egress_ip"],
            LinkLayer::Other(number) => {
                return Err(refused(format!(
                    "its packets start with a header of type {number}, which isn't read"
                )));
            }
        };
        if self.hook == Hook::Clsact
            && let Err(error) = qdisc_add_clsact(&interface.name)
        {
            // One that is there already, ours or not, will do.
            tracing::debug!(interface = interface.name, "clsact not added: {error}");
        }
        let mut attached = Attached {
            name: interface.name.clone(),
            links: Vec::new(),
        };
        let mut probes = self.probes.lock();
        for (name, direction) in programs.into_iter().zip([TcAttachType::Ingress, TcAttachType::Egress]) {
            let options = match self.hook {
                Hook::Tcx => TcAttachOptions::TcxOrder(aya::programs::LinkOrder::default()),
                Hook::Clsact => TcAttachOptions::Netlink(NlOptions::default()),
            };
            let link = probes
                .classifier(name)?
                .attach_with_options(&interface.name, direction, options);
            match link {
                Ok(link) => attached.links.push((name, link)),
                // Both directions or none: half of an interface's packets would look like a fault of the network.
                Err(error) => {
                    release(&mut probes, attached);
                    return Err(refused(chain(&error)));
                }
            }
        }
        Ok(attached)
    }

    fn detach(&mut self, index: u32) {
        if let Some(attached) = self.attached.remove(&index) {
            release(&mut self.probes.lock(), attached);
        }
    }

    /// Removes filters that an observer has left behind that could not end in good order.
    fn remove_leftovers(&self) {
        for interface in self.table.values() {
            for direction in [TcAttachType::Ingress, TcAttachType::Egress] {
                for program in crate::probes::CLASSIFIERS {
                    if qdisc_detach_program(&interface.name, direction, program).is_ok() {
                        tracing::info!(
                            interface = interface.name,
                            program,
                            "removed what another observer left behind"
                        );
                    }
                }
            }
        }
    }
}

fn release(probes: &mut Probes, attached: Attached) {
    for (name, link) in attached.links {
        // The kernel has detached from an interface that is gone; what is left is to forget our handle.
        if let Ok(program) = probes.classifier(name)
            && let Err(error) = program.detach(link)
        {
            tracing::debug!(interface = attached.name, "detached already: {error}");
        }
    }
}

fn chain(error: &ProgramError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

async fn existing(handle: &Handle) -> Result<BTreeMap<u32, Interface>, AttachError> {
    let mut links = handle.link().get().execute();
    let mut table = BTreeMap::new();
    while let Some(link) = links
        .try_next()
        .await
        .map_err(|error| AttachError::Netlink(error.to_string()))?
    {
        if let Some(interface) = Interface::of(&link) {
            table.insert(interface.index, interface);
        }
    }
    Ok(table)
}
