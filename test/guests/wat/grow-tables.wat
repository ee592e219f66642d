(component
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (core module $m
    (memory 1)
    (table $table 1 funcref)
    (func (export "handle") (param i32 i32) (local $elements i32)
      ;; Traps when it gets no more; returns when it has had 8 million elements, which no limit of 64 MiB allows.
      (loop $more
        (if (i32.eq (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1)) (then unreachable))
        (local.set $elements (i32.add (local.get $elements) (i32.const 1000)))
        (br_if $more (i32.lt_u (local.get $elements) (i32.const 8400000))))))
  (core instance $i (instantiate $m))
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
