use super::*;
use crate::kubernetes::index::PortQuery;
use crate::kubernetes::names::{Part, ServiceName, Shape, Tree, parse};

#[test]
fn names_are_read_from_right_to_left() {
    let key = b"\x03web\x04test";
    let service = |part| Shape::Service(ServiceName { key, part });
    let port = |name, protocol| Part::Port(PortQuery { name, protocol });
    let table: &[(&str, Shape<'_>)] = &[
        ("z", Shape::Apex),
        ("svc.z", Shape::Tree),
        ("pod.z", Shape::Tree),
        ("dns-version.z", Shape::DnsVersion),
        ("dns.z", Shape::Unknown),
        ("ns.dns.z", Shape::NameServer),
        ("x.dns.z", Shape::Unknown),
        ("ns.dns.svc.z", Shape::Service(ServiceName { key: b"\x02ns\x03dns", part: Part::Whole })),
        ("x.z", Shape::Unknown),
        ("test.svc.z", Shape::Namespace(Tree::Svc, b"test")),
        ("test.pod.z", Shape::Namespace(Tree::Pod, b"test")),
        ("web.test.svc.z", service(Part::Whole)),
        ("a.web.test.svc.z", service(Part::Endpoint(b"a"))),
        ("_tcp.web.test.svc.z", service(Part::Endpoint(b"_tcp"))),
        ("_http._tcp.web.test.svc.z", service(port(b"http", b"tcp"))),
        ("http.tcp.web.test.svc.z", service(port(b"http", b"tcp"))),
        ("_._.web.test.svc.z", service(port(b"", b""))),
        ("__http._tcp.web.test.svc.z", service(port(b"_http", b"tcp"))),
        ("a.b.c.web.test.svc.z", Shape::Unknown),
        ("p.test.pod.z", Shape::Pod { label: b"p", namespace: b"test" }),
        ("x.y.p.test.pod.z", Shape::Pod { label: b"p", namespace: b"test" }),
        ("w.x.y.p.test.pod.z", Shape::Unknown),
        (
            "svc.svc.svc.z",
            Shape::Service(ServiceName { key: b"\x03svc\x03svc", part: Part::Whole }),
        ),
    ];
    for (text, shape) in table {
        let name = name(text);
        assert_eq!(parse(name.as_ref(), name.as_wire().len() - 3), *shape, "{text}");
    }
}
