%% New with 4.4.19, so that a switch adds a module and the way back deletes it.
-module(emqx_const_v2).
-export([value/0]).

value() ->
    2.
