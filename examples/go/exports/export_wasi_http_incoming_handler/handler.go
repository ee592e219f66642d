// Package export_wasi_http_incoming_handler greets, and sends back what it is sent, piece by piece as it comes.
package export_wasi_http_incoming_handler

import (
	"fmt"
	"runtime"
	"runtime/debug"

	witRuntime "go.bytecodealliance.org/pkg/wit/runtime"
	wit "go.bytecodealliance.org/pkg/wit/types"

	http "function/imports/wasi_http_types"
	streams "function/imports/wasi_io_streams"
)

// The collector asks for the time, which traps when it starts by itself while the host hands over a value:
// https://github.com/bytecodealliance/componentize-go/issues/56. So it runs when it is told to.
func init() {
	debug.SetGCPercent(-1)
}

// Handle is called for each request. The generated bindings call it by its name and its package's.
func Handle(request *http.IncomingRequest, out *http.ResponseOutparam) {
	contentType := wit.Tuple2[string, []uint8]{F0: "content-type", F1: []byte("text/plain; charset=utf-8")}
	headers := http.FieldsFromList([]wit.Tuple2[string, []uint8]{contentType}).Ok()
	response := http.MakeOutgoingResponse(headers)
	body := response.Body().Ok()
	http.ResponseOutparamSet(out, wit.Ok[*http.OutgoingResponse, http.ErrorCode](response))

	output := body.Write().Ok()
	if request.Method().Tag() == http.Method_Post {
		echo(request.Consume().Ok(), output)
	} else {
		greeting := fmt.Sprintf("Hello from Go! You asked for %s\n", request.PathWithQuery().SomeOr("/"))
		output.BlockingWriteAndFlush([]byte(greeting))
	}
	output.Drop()
	http.OutgoingBodyFinish(body, wit.None[*http.Fields]())
}

func echo(body *http.IncomingBody, output *streams.OutputStream) {
	defer http.IncomingBodyFinish(body)
	input := body.Stream().Ok()
	defer input.Drop()
	// One write takes 4096 bytes at most. A read fails at the end of the body.
	for pieces := 1; ; pieces++ {
		piece := input.BlockingRead(4096)
		if piece.IsErr() {
			return
		}
		output.BlockingWriteAndFlush(piece.Ok())
		if pieces%1024 == 0 {
			// Nothing that the host handed over is needed any more.
			witRuntime.Unpin()
			runtime.GC()
		}
	}
}
