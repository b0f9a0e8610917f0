module lucid/tests/interop/tlog

go 1.18

require golang.org/x/mod v0.14.0
