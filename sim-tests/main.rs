#![cfg(madsim)]
