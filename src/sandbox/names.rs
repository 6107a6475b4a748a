//! The name server of a sandbox: it knows the names of the drill and no other.

use hickory_resolver::proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{RData, Record, RecordType, rdata::A},
    serialize::binary::BinEncodable,
};
use std::{
    collections::BTreeMap,
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::net::UdpSocket;

/// Names and where they lead.
#[derive(Clone, Default)]
pub(crate) struct Names {
    all: Arc<Mutex<BTreeMap<String, Vec<Ipv4Addr>>>>,
}

impl Names {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Ipv4Addr>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, name: &str, to: &[Ipv4Addr]) {
        self.all().insert(name.to_ascii_lowercase(), to.to_vec());
    }

    /// Answers on that address until the task is ended.
    pub(crate) async fn serve(self, address: Ipv4Addr) -> io::Result<()> {
        let socket = UdpSocket::bind((address, 53)).await?;
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let Ok((n, from)) = socket.recv_from(&mut buffer).await else {
                    continue;
                };
                if let Some(answer) = self.answer(&buffer[..n]) {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Ok(())
    }

    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let asked = Message::from_vec(question).ok()?;
        let mut reply = Message::new();
        reply
            .set_id(asked.id())
            .set_message_type(MessageType::Response)
            .set_op_code(asked.op_code())
            .set_recursion_desired(asked.recursion_desired())
            .set_recursion_available(true)
            .add_queries(asked.queries().iter().cloned());
        let query = asked.queries().first()?;
        let name = query.name().to_ascii();
        let known = self
            .all()
            .get(name.trim_end_matches('.').to_ascii_lowercase().as_str())
            .cloned();
        match known {
            None => {
                reply.set_response_code(ResponseCode::NXDomain);
            }
            Some(all) if query.query_type() == RecordType::A => {
                for address in all {
                    let record = Record::from_rdata(query.name().clone(), 1, RData::A(A(address)));
                    reply.add_answer(record);
                }
            }
            Some(_) => {}
        }
        reply.to_bytes().ok()
    }
}
