//! STUB
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestCode(pub i32);
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseCode(pub i32);
impl From<RequestCode> for i32 { fn from(c: RequestCode) -> i32 { c.0 } }
impl From<ResponseCode> for i32 { fn from(c: ResponseCode) -> i32 { c.0 } }
