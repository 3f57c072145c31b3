//! Requests to a UPnP service and their answers (SOAP). No IO.

use super::description::{self, Service};
use super::refusal::Refusal;

/// What is asked of a service: a name and arguments. Values are numbers, addresses and fixed words: nothing to escape.
pub struct Action<'a> {
    /// The name of the action.
    pub name: &'static str,
    /// Its arguments in the order of the standard.
    pub arguments: &'a [(&'static str, String)],
}

impl Action<'_> {
    /// The header `SOAPAction`.
    pub fn header(&self, service: &Service) -> String {
        format!("\"{}#{}\"", service.kind, self.name)
    }

    /// The body of the request.
    pub fn body(&self, service: &Service) -> String {
        let arguments: String =
            self.arguments.iter().map(|(name, value)| format!("<{name}>{value}</{name}>")).collect();
        let (name, kind) = (self.name, service.kind);
        format!(
            "<?xml version=\"1.0\"?>\r\n\
             <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>\
             <u:{name} xmlns:u=\"{kind}\">{arguments}</u:{name}></s:Body></s:Envelope>\r\n"
        )
    }

    /// Reads the answer: the value of `wanted` in it, empty where nothing is wanted.
    pub fn answer(&self, xml: &str, wanted: Option<&str>) -> Result<String, Refusal> {
        let document = description::parse(xml)?;
        let root = document.root();
        if let Some(code) = description::text(root, "errorCode") {
            let meaning = description::text(root, "errorDescription").unwrap_or("no reason given");
            let meaning = meaning.chars().filter(|c| !c.is_control()).take(80).collect::<String>();
            return Err(Refusal::code(code.parse().unwrap_or(0), meaning));
        }
        let expected = format!("{}Response", self.name);
        let response = root.descendants().find(|element| element.tag_name().name() == expected);
        let response = response.ok_or_else(|| Refusal::unusable(format!("no {expected}")))?;
        let Some(wanted) = wanted else { return Ok(String::new()) };
        let value = description::text(response, wanted);
        value.map(str::to_owned).ok_or_else(|| Refusal::unusable(format!("no {wanted}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portmap::url::Url;

    fn envelope(body: &str) -> String {
        format!(
            "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>{body}</s:Body></s:Envelope>"
        )
    }

    const ASK: Action<'static> = Action { name: "GetExternalIPAddress", arguments: &[] };

    #[test]
    fn a_request_names_service_action_and_arguments() {
        let control = Url::absolute("http://192.168.1.1/c", [192, 168, 1, 1].into()).unwrap();
        let service = Service { kind: "urn:schemas-upnp-org:service:WANIPConnection:1", control };
        let action = Action { name: "DeletePortMapping", arguments: &[("NewExternalPort", "7".into())] };
        assert_eq!(action.header(&service), "\"urn:schemas-upnp-org:service:WANIPConnection:1#DeletePortMapping\"");
        let body = action.body(&service);
        assert!(body.contains("<NewExternalPort>7</NewExternalPort></u:DeletePortMapping>"), "{body}");
        assert!(description::parse(&body).is_ok());
    }

    #[test]
    fn an_answer_gives_the_wanted_value() {
        let inner = "<u:GetExternalIPAddressResponse xmlns:u=\"urn:x\"><NewExternalIPAddress>203.0.113.7\
                     </NewExternalIPAddress></u:GetExternalIPAddressResponse>";
        assert_eq!(ASK.answer(&envelope(inner), Some("NewExternalIPAddress")), Ok("203.0.113.7".into()));
        assert_eq!(ASK.answer(&envelope(inner), None), Ok(String::new()));
        assert!(matches!(ASK.answer(&envelope("<u:Other xmlns:u=\"x\"/>"), None), Err(Refusal::Unusable(_))));
    }

    #[test]
    fn a_fault_keeps_its_code() {
        let fault = "<s:Fault><detail><UPnPError xmlns=\"urn:schemas-upnp-org:control-1-0\"><errorCode>718</errorCode>\
                     <errorDescription>ConflictInMappingEntry</errorDescription></UPnPError></detail></s:Fault>";
        assert_eq!(ASK.answer(&envelope(fault), None), Err(Refusal::code(718, "ConflictInMappingEntry")));
    }
}
