use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Waker};

use periplus_core::exchange::{Exchange, offer};

use super::*;

/// A worker without clients.
struct Driver {
    exchanges: Rc<Exchanges>,
    woken: Woken,
    _clients: UdpSocket,
}

impl Driver {
    fn new() -> Driver {
        let clients = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
        let events = EventQueue::new(&clients).expect("a queue");
        let woken = Woken::new(events.waker().expect("a waker"));
        let exchanges = Rc::new(Exchanges::new(events));
        offer(Some(Rc::clone(&exchanges) as Rc<_>));
        Driver { exchanges, woken, _clients: clients }
    }

    /// Starts an exchange that waits for at most a while.
    fn start(&self, endpoint: &Arc<Endpoint>, id: u16, patience: Duration) -> Exchange {
        let times = Times { patience: None, deadline: Instant::now() + patience };
        let exchange = Exchange::start(endpoint, &message(id, b"?"), times);
        exchange.expect("this thread has an exchanger").expect("a socket can be made")
    }

    /// Sends what was started, and waits until all have ended.
    fn finish<F: Future>(&self, futures: Vec<F>) -> Vec<F::Output> {
        let mut futures: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
        let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
        let begun = Instant::now();
        let mut cx = Context::from_waker(Waker::noop());
        while outputs.iter().any(Option::is_none) {
            for (future, output) in
                futures.iter_mut().zip(&mut outputs).filter(|(_, output)| output.is_none())
            {
                if let Poll::Ready(ready) = future.as_mut().poll(&mut cx) {
                    *output = Some(ready);
                }
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "somebody is left behind");
            self.exchanges.flush();
            self.exchanges.wait(Duration::from_millis(5), &self.woken);
        }
        outputs.into_iter().flatten().collect()
    }

    /// One exchange that takes whatever comes.
    fn ask(&self, endpoint: &Arc<Endpoint>, id: u16) -> Result<Vec<u8>, Fault> {
        let exchange = self.start(endpoint, id, LONG);
        self.finish(vec![exchange.receive(whatever)]).remove(0)
    }

    /// Sockets that are open.
    fn sockets(&self) -> usize {
        self.exchanges.state.borrow().book.sockets()
    }

    /// Exchanges under way.
    fn under_way(&self) -> usize {
        self.exchanges.state.borrow().book.under_way()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        offer(None);
    }
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

/// A header with this id, and a text.
fn message(id: u16, text: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes()[..], &[0; 10], text].concat()
}

fn whatever(datagram: &[u8]) -> Option<Vec<u8>> {
    Some(datagram[12..].to_vec())
}

fn settings(remote: SocketAddr) -> Endpoint {
    let expire = Duration::from_secs(10);
    Endpoint { remote, source: None, expire, max_age: None, max_idle: None }
}

/// A server that answers each datagram with what the script makes of it and of how many came before.
fn server(
    mut script: impl FnMut(usize, &[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> (Arc<Endpoint>, std::sync::mpsc::Receiver<SocketAddr>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    let remote = socket.local_addr().expect("a bound socket has an address");
    let (sender, seen) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        for number in 0.. {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { return };
            if sender.send(from).is_err() {
                return;
            }
            for answer in script(number, &buffer[..length]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    (Arc::new(settings(remote)), seen)
}

fn echo() -> (Arc<Endpoint>, std::sync::mpsc::Receiver<SocketAddr>) {
    server(|_, request| vec![request.to_vec()])
}

fn id_of(request: &[u8]) -> u16 {
    u16::from_be_bytes([request[0], request[1]])
}

#[test]
fn many_questions_of_a_batch_share_a_socket_and_are_told_apart() {
    let driver = Driver::new();
    // Answers come in pairs, the later question's first.
    let mut held = Vec::new();
    let (endpoint, seen) = server(move |_, request| {
        let answer = message(id_of(request), &request[..2]);
        match held.pop() {
            Some(earlier) => vec![answer, earlier],
            None => {
                held.push(answer);
                Vec::new()
            }
        }
    });
    let exchanges: Vec<_> =
        (0..80).map(|id| driver.start(&endpoint, id, LONG).receive(whatever)).collect();
    for (id, answer) in (0_u16..).zip(driver.finish(exchanges)) {
        assert_eq!(answer.expect("an answer"), id.to_be_bytes());
    }
    let ports: HashSet<_> = seen.try_iter().collect();
    assert_eq!((ports.len(), driver.sockets(), driver.under_way()), (1, 1, 0));
}

#[test]
fn what_is_not_the_answer_is_passed_over_and_ends_the_use_of_the_socket() {
    let driver = Driver::new();
    let (endpoint, seen) = server(|_, request| {
        let id = id_of(request);
        vec![
            b"short".to_vec(),
            message(!id, b"another id"),
            message(id, b"refused"),
            message(id, b"right"),
        ]
    });
    for id in 0..3 {
        let exchange = driver.start(&endpoint, id, LONG);
        let accept = |datagram: &[u8]| datagram.ends_with(b"right").then_some(());
        driver.finish(vec![exchange.receive(accept)]).remove(0).expect("the right answer");
    }
    assert_eq!(seen.try_iter().collect::<HashSet<_>>().len(), 3);
    assert_eq!(driver.sockets(), 0);
}

#[test]
fn a_guesser_ends_the_wait_only_after_a_hundred_guesses() {
    let driver = Driver::new();
    for (guesses, ends) in [(99, false), (100, true)] {
        let (endpoint, _seen) = server(move |_, request| {
            let id = id_of(request);
            let mut answers: Vec<_> =
                (1..=guesses).map(|guess| message(id.wrapping_add(guess), b"guess")).collect();
            answers.push(message(id, b"right"));
            answers
        });
        let answer = driver.ask(&endpoint, 7);
        match ends {
            false => assert_eq!(answer.expect("an answer"), b"right"),
            true => {
                let fault = answer.expect_err("somebody guesses");
                assert!(matches!(fault.kind, FaultKind::ManyWrongAnswers), "{fault:?}");
            }
        }
        assert_eq!(driver.under_way(), 0);
    }
}

#[test]
fn an_answer_sent_before_its_question_is_not_seen() {
    let driver = Driver::new();
    let forger = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    let remote = forger.local_addr().expect("a bound socket has an address");
    let endpoint = Arc::new(settings(remote));
    forger.set_read_timeout(Some(LONG)).expect("a time-out can be set");
    let mut buffer = [0; 512];
    for round in 0..30 {
        // Many sockets, so that the next question most likely goes over one of them.
        let asked: Vec<_> = (0..3)
            .map(|id| {
                let mut exchange = Box::pin(driver.start(&endpoint, id, LONG).receive(whatever));
                assert!(
                    exchange.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
                );
                driver.exchanges.flush();
                let (_, from) = forger.recv_from(&mut buffer).expect("a question");
                forger.send_to(&message(id, b"answer"), from).expect("loopback takes it");
                forger.send_to(&message(1000, b"planted"), from).expect("loopback takes it");
                exchange
            })
            .collect();
        for answer in asked {
            assert_eq!(driver.finish(vec![answer]).remove(0).expect("an answer"), b"answer");
        }
        driver.exchanges.look_away();
        let exchange = driver.start(&endpoint, 1000, SHORT);
        let fault = driver.finish(vec![exchange.receive(whatever)]).remove(0);
        let fault = fault.expect_err("only what was planted has this id");
        assert!(matches!(fault.kind, FaultKind::TimedOut), "{round}: {fault:?}");
        forger.recv_from(&mut buffer).expect("the question went out");
    }
}

#[test]
fn a_question_without_an_answer_ends_at_its_deadline_and_its_socket_with_it() {
    let driver = Driver::new();
    let (endpoint, seen) = server(|_, _| Vec::new());
    for id in 0..3 {
        let begun = Instant::now();
        let exchange = driver.start(&endpoint, id, SHORT);
        let fault = driver.finish(vec![exchange.receive(whatever)]).remove(0);
        let fault = fault.expect_err("nobody answers");
        assert!(matches!(fault.kind, FaultKind::TimedOut), "{fault:?}");
        assert!(fault.local.is_some());
        assert!(begun.elapsed() >= SHORT);
    }
    assert_eq!(seen.try_iter().collect::<HashSet<_>>().len(), 3);
    assert_eq!((driver.sockets(), driver.under_way()), (0, 0));
}

#[test]
fn nobody_there_is_known_at_once() {
    let driver = Driver::new();
    let closed = UdpSocket::bind("127.0.0.1:0").expect("a loopback socket");
    let endpoint = Arc::new(settings(closed.local_addr().expect("an address")));
    // It takes datagrams from one address only; the kernel refuses all others for it.
    closed.connect("127.0.0.1:1").expect("nothing is sent yet");
    let begun = Instant::now();
    for count in [1, 2, 40] {
        let exchanges =
            (0..count).map(|id| driver.start(&endpoint, id, LONG).receive(whatever)).collect();
        for answer in driver.finish(exchanges) {
            let fault = answer.expect_err("nobody is there");
            let (FaultKind::Receive(error) | FaultKind::Send(error)) = fault.kind else {
                panic!("{fault:?}");
            };
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
    }
    assert!(begun.elapsed() < LONG);
    assert_eq!((driver.sockets(), driver.under_way()), (0, 0));
}

#[test]
fn ports_change_and_none_carries_more_than_a_hundred_questions() {
    let driver = Driver::new();
    let (endpoint, seen) = echo();
    for id in 0..600 {
        driver.ask(&endpoint, id).expect("an answer");
    }
    let mut uses: HashMap<SocketAddr, usize> = HashMap::new();
    for from in seen.try_iter() {
        *uses.entry(from).or_default() += 1;
    }
    assert!(uses.len() >= 16, "{} ports", uses.len());
    assert!(uses.values().all(|uses| *uses <= 100), "{uses:?}");
    // More than a socket takes, in one batch.
    let exchanges: Vec<_> =
        (0..250).map(|id| driver.start(&endpoint, id, LONG).receive(whatever)).collect();
    for answer in driver.finish(exchanges) {
        answer.expect("an answer");
    }
    let ports: HashSet<_> = seen.try_iter().collect();
    assert!(ports.len() >= 3, "{} ports", ports.len());
}

#[test]
fn two_questions_with_the_same_id_go_over_different_sockets() {
    let driver = Driver::new();
    let (endpoint, seen) = echo();
    let exchanges =
        (0..3).map(|_| driver.start(&endpoint, 7, LONG).receive(whatever)).collect::<Vec<_>>();
    for answer in driver.finish(exchanges) {
        answer.expect("an answer");
    }
    assert_eq!(seen.try_iter().collect::<HashSet<_>>().len(), 3);
}

#[test]
fn sockets_are_kept_no_longer_and_in_no_greater_number_than_the_settings_say() {
    let driver = Driver::new();
    let (endpoint, _seen) = echo();
    let remote = endpoint.remote;
    let cases = [
        Endpoint { expire: Duration::ZERO, ..settings(remote) },
        Endpoint { max_age: Some(Duration::ZERO), ..settings(remote) },
        Endpoint { max_idle: Some(0), ..settings(remote) },
    ];
    for endpoint in cases.map(Arc::new) {
        for id in 0..10 {
            let exchange = driver.start(&endpoint, id, LONG);
            assert!(!exchange.reused, "{endpoint:?}");
            driver.finish(vec![exchange.receive(whatever)]).remove(0).expect("an answer");
        }
    }
    let two = Arc::new(Endpoint { max_idle: Some(2), ..settings(remote) });
    for id in 0..50 {
        driver.ask(&two, id).expect("an answer");
    }
    driver.exchanges.state.borrow_mut().book.sweep(Instant::now());
    assert!(driver.sockets() <= 2, "{} sockets", driver.sockets());
    // Nobody can ask this server any more.
    drop(two);
    driver.exchanges.state.borrow_mut().book.sweep(Instant::now());
    assert_eq!(driver.sockets(), 0);
}

#[test]
fn without_a_limit_of_age_a_socket_is_given_up_after_half_a_minute_however_often_it_is_used() {
    let driver = Driver::new();
    let (endpoint, _seen) = echo();
    driver.ask(&endpoint, 1).expect("an answer");
    let now = Instant::now();
    let sweep = |later| driver.exchanges.state.borrow_mut().book.sweep(now + later);
    for (later, left) in [(9, 1), (31, 0)] {
        driver.exchanges.state.borrow_mut().book.use_at(now + Duration::from_secs(later));
        sweep(Duration::from_secs(later));
        assert_eq!(driver.sockets(), left, "after {later} s");
    }
}

#[test]
fn what_a_crowd_needed_is_given_up_and_its_tickets_stay_void() {
    let driver = Driver::new();
    let (endpoint, _seen) = server(|_, request| vec![message(id_of(request), &[1; 300])]);
    let room = || driver.exchanges.state.borrow().book.room();
    let kept = driver.start(&endpoint, 1000, LONG);
    let crowd = (0..1000).map(|id| {
        if id % 50 == 49 {
            driver.exchanges.flush();
            // The server's buffer is small.
            std::thread::sleep(Duration::from_millis(5));
        }
        driver.start(&endpoint, id, LONG).receive(whatever)
    });
    for answer in driver.finish(crowd.collect()) {
        answer.expect("an answer");
    }
    let (slots, bytes) = room();
    assert!(slots > 1000 && bytes > 200_000, "{slots} and {bytes}");
    driver.exchanges.sweep();
    let (slots, bytes) = room();
    assert!(slots > 1000 && (1..200_000).contains(&bytes), "{slots} and {bytes}");
    let exchanger = driver.exchanges.number;
    drop(kept);
    driver.exchanges.sweep();
    assert_eq!(room(), (0, 0));
    let exchange = driver.start(&endpoint, 1, LONG);
    for generation in 0..=1000 {
        driver.exchanges.end(Ticket { exchanger, slot: 0, generation });
    }
    driver.finish(vec![exchange.receive(whatever)]).remove(0).expect("nobody ended it");
}

#[test]
fn where_no_socket_can_be_opened_those_that_are_there_are_used() {
    let (endpoint, _seen) = echo();
    let (mut book, now) = (Book::default(), Instant::now());
    let times = Times { patience: None, deadline: now + LONG };
    let mut start = |id, opens: bool| {
        let watch = |_: &UdpSocket, _| match opens {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::EMFILE)),
        };
        let started = book.start(&endpoint, &message(id, b"?"), times, now, watch);
        book.flush();
        started
    };
    let fault = start(0, false).expect_err("there is none");
    assert!(matches!(fault.kind, FaultKind::Open(_)), "{fault:?}");
    start(0, true).expect("a socket can be made");
    for id in 1..50 {
        let (.., reused) = start(id, false).expect("there is one");
        assert!(reused);
    }
    start(49, false).expect_err("two of its questions would have one id");
}

#[test]
fn an_exchange_that_is_dropped_disturbs_no_other() {
    let driver = Driver::new();
    let (endpoint, _seen) = echo();
    let kept = driver.start(&endpoint, 1, LONG).receive(whatever);
    drop(driver.start(&endpoint, 2, LONG));
    let mut sent = Box::pin(driver.start(&endpoint, 3, LONG).receive(whatever));
    assert!(sent.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    driver.exchanges.flush();
    drop(sent);
    driver.finish(vec![kept]).remove(0).expect("an answer");
    assert_eq!((driver.sockets(), driver.under_way()), (0, 0));
    driver.ask(&endpoint, 4).expect("an answer");
}

#[test]
fn an_exchange_waits_on_its_own_thread_only() {
    let driver = Driver::new();
    let (endpoint, _seen) = echo();
    let exchange = driver.start(&endpoint, 1, SHORT).receive(whatever);
    let elsewhere = std::thread::spawn(move || {
        let times = Times { patience: None, deadline: Instant::now() };
        assert!(Exchange::start(&endpoint, &message(1, b""), times).is_none());
        let polled = pin!(exchange).poll(&mut Context::from_waker(Waker::noop()));
        matches!(polled, Poll::Ready(Err(Fault { kind: FaultKind::Moved, .. })))
    });
    assert!(elsewhere.join().expect("no panic"));
    // It could not be ended there; it is forgotten some time after its deadline.
    driver.exchanges.state.borrow_mut().book.expire(Instant::now() + SHORT);
    assert_eq!(driver.under_way(), 1);
    driver.exchanges.state.borrow_mut().book.expire(Instant::now() + Duration::from_secs(60));
    assert_eq!(driver.under_way(), 0);
}

#[test]
fn patience_beyond_the_deadline_does_not_put_it_off() {
    let driver = Driver::new();
    let (endpoint, _seen) = server(|_, _| vec![]);
    let now = Instant::now();
    let times = Times { patience: Some(now + LONG), deadline: now + SHORT };
    let exchange = Exchange::start(&endpoint, &message(1, b"?"), times);
    let exchange = exchange.expect("this thread has an exchanger").expect("a socket");
    let fault = driver.finish(vec![exchange.receive(whatever)]).remove(0).expect_err("silence");
    assert!(matches!(fault.kind, FaultKind::TimedOut), "{fault:?}");
    assert!(now.elapsed() < LONG);
}

#[test]
fn the_end_of_patience_is_told_once_and_the_answer_still_comes() {
    let driver = Driver::new();
    let (asked, held) = std::sync::mpsc::channel::<()>();
    // Nothing is answered before the exchange was found late.
    let (endpoint, _seen) = server(move |_, request| {
        let _ = held.recv();
        vec![request.to_vec()]
    });
    let now = Instant::now();
    let times = Times { patience: Some(now + SHORT), deadline: now + LONG };
    let exchange = Exchange::start(&endpoint, &message(1, b"?"), times);
    let mut exchange = exchange.expect("this thread has an exchanger").expect("a socket");
    let mut late = 0;
    let answer = driver.finish(vec![std::future::poll_fn(|cx| {
        loop {
            match exchange.poll(cx, &mut whatever) {
                Poll::Ready(Ok(None)) => {
                    late += 1;
                    assert!(now.elapsed() >= SHORT);
                    let _ = asked.send(());
                }
                Poll::Ready(Ok(Some(answer))) => return Poll::Ready(answer),
                Poll::Ready(Err(fault)) => panic!("{fault:?}"),
                Poll::Pending => return Poll::Pending,
            }
        }
    })]);
    assert_eq!((answer[0].as_slice(), late), (&b"?"[..], 1));
    assert_eq!((driver.sockets(), driver.under_way()), (1, 0), "the socket is as good as before");
}
