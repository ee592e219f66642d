(component
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (core module $other
    (memory 1)
    (table $table 1 funcref)
    (func (export "memory") (result i32) (memory.grow (i32.const 16)))
    (func (export "table") (result i32) (table.grow $table (ref.null func) (i32.const 1000))))
  (core instance $one (instantiate $other))
  (core instance $two (instantiate $other))
  (core module $m
    (import "one" "memory" (func $memory1 (result i32)))
    (import "one" "table" (func $table1 (result i32)))
    (import "two" "memory" (func $memory2 (result i32)))
    (import "two" "table" (func $table2 (result i32)))
    (memory 1)
    (global $bytes (mut i32) (i32.const 0))
    ;; Counts what was got, and tells whether it was.
    (func $got (param $result i32) (param $bytes i32) (result i32)
      (if (i32.eq (local.get $result) (i32.const -1)) (then (return (i32.const 0))))
      (global.set $bytes (i32.add (global.get $bytes) (local.get $bytes)))
      (i32.const 1))
    (func (export "handle") (param i32 i32)
      ;; Takes of all by turns until none gives any more. Traps then, and returns when it got more than 64 MiB.
      (loop $more
        (if (i32.gt_u (global.get $bytes) (i32.const 67108864)) (then (return)))
        (br_if $more
          (i32.or
            (i32.or
              (i32.or
                (call $got (call $memory1) (i32.const 1048576))
                (call $got (call $memory2) (i32.const 1048576)))
              (call $got (memory.grow (i32.const 16)) (i32.const 1048576)))
            (i32.or
              (call $got (call $table1) (i32.const 8000))
              (call $got (call $table2) (i32.const 8000))))))
      unreachable))
  (core instance $i (instantiate $m (with "one" (instance $one)) (with "two" (instance $two))))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $out))
  (func $handle (param "request" (own $request)) (param "response-out" (own $out))
    (canon lift (core func $i "handle")))
  (component $wrap
    (import "request" (type $request (sub resource)))
    (import "out" (type $out (sub resource)))
    (import "handle" (func $handle (param "request" (own $request)) (param "response-out" (own $out))))
    (export $exported-request "incoming-request" (type $request))
    (export $exported-out "response-outparam" (type $out))
    (export "handle" (func $handle)
      (func (param "request" (own $exported-request)) (param "response-out" (own $exported-out)))))
  (instance $handler (instantiate $wrap
    (with "request" (type $request)) (with "out" (type $out)) (with "handle" (func $handle))))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))
